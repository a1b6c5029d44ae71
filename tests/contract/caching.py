"""The cache: `cache_get` and `cache_set`, and that it never shows anything but what is stored."""

import pytest

from tests.contract.calls import at, fields, short


class CachingContract:
    def test_an_unknown_key_is_none(self, calls):
        assert calls.cache_get("chat:ada:0") is None

    @pytest.mark.parametrize("value", ["v", "", "{}", "ünï😀", "\n", "v" * 400_000], ids=short)
    def test_what_was_set_is_given_back(self, storage, value):
        storage.cache_set_sync("chat:ada:0", value, 60)
        assert storage.cache_get_sync("chat:ada:0") == value

    def test_both_sides_share_one_cache(self, calls, storage):
        calls.cache_set("chat:ada:0", "first", 60)
        assert storage.cache_get_sync("chat:ada:0") == "first"
        storage.cache_set_sync("chat:ada:0", "second", 60)
        assert calls.cache_get("chat:ada:0") == "second"

    def test_keys_do_not_mix(self, calls):
        calls.cache_set("chat:ada:0", "ada's", 60)
        calls.cache_set("chat:bob:0", "bob's", 60)
        assert calls.cache_get("chat:ada:0") == "ada's"
        assert calls.cache_get("chat:ada:1") is None

    def test_a_value_is_gone_after_its_time(self, storage, seconds_pass):
        storage.cache_set_sync("chat:ada:short", "v", 1)
        storage.cache_set_sync("chat:ada:long", "v", 600)
        seconds_pass(1.1)
        assert storage.cache_get_sync("chat:ada:short") is None
        assert storage.cache_get_sync("chat:ada:long") == "v"

    @pytest.mark.parametrize(
        "user_id", ["ada lovelace", "é😀", "a:b", "x" * 255, "\u2028"], ids=short
    )
    def test_a_key_may_name_any_user(self, storage, user_id):
        # Keys are `chat:{user_id}:{hash}`, so whatever is a user id must do.
        key = f"chat:{user_id}:{'0' * 64}"
        storage.cache_set_sync(key, "v", 60)
        assert storage.cache_get_sync(key) == "v"


class CachedReadsContract:
    @pytest.fixture
    def cached(self, storage, make_interaction):
        """An interaction that has been read by id, so that it may be cached."""
        storage.save_interaction_sync(make_interaction(interaction_id="i", created_at=at()))
        storage.get_interaction_sync("i")
        return storage.get_interaction_sync("i")

    def stored(self, storage):
        """What a list says, which no cache has a part in."""
        listed = storage.get_user_interactions_sync("ada", 10)
        return fields(listed[0]) if listed else None

    def test_a_cached_read_says_what_is_stored(self, calls, storage, cached):
        assert fields(cached) == self.stored(storage)
        assert fields(calls.get_interaction("i")) == self.stored(storage)

    def test_a_cached_read_has_the_same_types(self, cached, storage):
        (listed,) = storage.get_user_interactions_sync("ada", 1)
        kinds = {name: type(value) for name, value in fields(cached).items()}
        assert kinds == {name: type(value) for name, value in fields(listed).items()}

    def test_a_save_shows_at_once(self, calls, storage, cached, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", message="new"))
        assert calls.get_interaction("i").message == "new"
        assert fields(calls.get_interaction("i")) == self.stored(storage)

    def test_an_update_shows_at_once(self, calls, storage, cached):
        calls.update_interaction("i", {"output_tokens": 99})
        assert calls.get_interaction("i").output_tokens == 99
        assert fields(calls.get_interaction("i")) == self.stored(storage)

    def test_a_delete_shows_at_once(self, calls, storage, cached):
        calls.delete_interaction("i")
        assert calls.get_interaction("i") is None
        assert self.stored(storage) is None

    def test_a_refused_write_leaves_the_read_as_it_was(self, calls, cached, make_interaction):
        for refused in (
            lambda: calls.save_interaction(make_interaction(interaction_id="i", user_id="bob")),
            lambda: calls.create_interaction(make_interaction(interaction_id="i", message="x")),
            lambda: calls.update_interaction("i", {"output_tokens": -1}),
        ):
            with pytest.raises(Exception, match=r"other content|must be"):
                refused()
        assert fields(calls.get_interaction("i")) == fields(cached)
