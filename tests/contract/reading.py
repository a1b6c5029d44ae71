"""`get_interaction`: one by id."""

from datetime import UTC

import pytest

from storage.records.json import to_json
from tests.contract.calls import at, fields, short

# What an attacker or a careless client may send as an id.
IMPOSSIBLE_IDS = ["", "a" * 256, "a\nb", "\0", "a\x7f", "a\x85", "\ud800", "😀" * 256]
NOT_TEXT = [None, 5, b"bytes", ["i"], {"i": 1}]


class ReadingContract:
    def test_an_unknown_id_is_none(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i"))
        assert calls.get_interaction("j") is None

    @pytest.mark.parametrize("interaction_id", [*IMPOSSIBLE_IDS, *NOT_TEXT], ids=short)
    def test_an_impossible_id_is_none(self, storage, interaction_id):
        assert storage.get_interaction_sync(interaction_id) is None

    @pytest.mark.parametrize(
        "other", ["I", "i ", " i", "i%", "%", "_", "*", "í", "\uff49"], ids=short
    )
    def test_only_the_very_same_id_is_found(self, storage, make_interaction, other):
        storage.save_interaction_sync(make_interaction(interaction_id="i"))
        assert storage.get_interaction_sync(other) is None

    def test_composed_and_decomposed_characters_are_different_ids(self, storage, make_interaction):
        storage.save_interaction_sync(make_interaction(interaction_id="\u00e9", message="one"))
        storage.save_interaction_sync(make_interaction(interaction_id="e\u0301", message="two"))
        assert storage.get_interaction_sync("\u00e9").message == "one"
        assert storage.get_interaction_sync("e\u0301").message == "two"

    def test_as_json_it_says_the_same(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", message="ünï😀"))
        (listed,) = calls.get_user_interactions("ada", 1)  # not by id, so past any cache
        # Twice: the second may come from the cache.
        assert calls.get_json("i") == calls.get_json("i") == to_json(listed)

    def test_as_json_another_users_is_unknown(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i"))
        for _ in range(2):
            assert calls.get_json("i", user_id="bob") is None
            assert calls.get_json("i", user_id="") is None
            assert calls.get_json("i", user_id="ada") == calls.get_json("i")
        assert calls.get_json("j") is None

    @pytest.mark.parametrize("interaction_id", [*IMPOSSIBLE_IDS, *NOT_TEXT], ids=short)
    def test_an_impossible_id_is_no_json(self, storage, interaction_id):
        assert storage.get_json_sync(interaction_id) is None

    def test_times_come_back_aware_and_in_utc(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i"))
        for found in (calls.get_interaction("i"), *calls.get_user_interactions("ada", 1)):
            assert found.created_at.tzinfo is UTC
            assert found.updated_at.tzinfo is UTC

    @pytest.mark.parametrize("microsecond", [0, 1, 10, 100_000, 123_456, 999_999])
    def test_microseconds_are_kept_exactly(self, storage, make_interaction, microsecond):
        created_at = at().replace(microsecond=microsecond)
        storage.save_interaction_sync(make_interaction(interaction_id="i", created_at=created_at))
        assert storage.get_interaction_sync("i").created_at == created_at
        assert storage.get_user_interactions_sync("ada", 1)[0].created_at == created_at

    def test_token_counts_come_back_as_integers(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", input_tokens=2**53 - 1))
        # Twice: the second may come from the cache.
        for found in (calls.get_interaction("i"), calls.get_interaction("i")):
            assert (type(found.input_tokens), found.input_tokens) == (int, 2**53 - 1)
            assert (type(found.output_tokens), found.output_tokens) == (int, 7)

    def test_a_second_read_is_the_same_as_the_first(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", created_at=at()))
        (listed,) = calls.get_user_interactions("ada", 1)  # not by id, so past any cache
        assert fields(calls.get_interaction("i")) == fields(listed)
        assert fields(calls.get_interaction("i")) == fields(listed)

    def test_changing_what_was_read_changes_nothing_in_the_store(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", message="stored"))
        calls.get_interaction("i").message = "changed by the reader"
        assert calls.get_interaction("i").message == "stored"

    def test_changing_what_was_saved_changes_nothing_in_the_store(self, calls, make_interaction):
        interaction = make_interaction(interaction_id="i", message="stored")
        calls.save_interaction(interaction)
        interaction.message = "changed by the writer"
        assert calls.get_interaction("i").message == "stored"
