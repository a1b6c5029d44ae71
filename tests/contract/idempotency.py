"""`create_interaction` with an idempotency key: a repeated request takes effect once."""

from datetime import UTC, datetime

import pytest

from storage.exceptions import (
    IdempotencyKeyReused,
    IdempotentInteractionGone,
    InteractionConflict,
    InvalidInteraction,
)
from storage.models.idempotency import Idempotency
from tests.contract.calls import everyones_pages, fields, ids, rows_of, user_pages

REQUEST = Idempotency(key="k" * 64, request="r" * 64)
OTHER_REQUEST = Idempotency(key=REQUEST.key, request="s" * 64)
ROTATED = Idempotency("m" * 64, "s" * 64, earlier=(Idempotency("o" * 64, "o" * 64), REQUEST))
"""The first request, hashed with a new secret key."""

OTHER_KEY = Idempotency(key="l" * 64, request=REQUEST.request)


class IdempotencyContract:
    def test_the_first_request_creates(self, calls, make_interaction):
        stored, created = calls.create_interaction(make_interaction(interaction_id="i"), REQUEST)
        assert created is True
        assert fields(calls.get_interaction("i")) == fields(stored)

    def test_a_repeat_gives_what_the_first_made(self, calls, make_interaction):
        first, _ = calls.create_interaction(make_interaction(), REQUEST)
        # A client that lets the server choose the id sends no id: each attempt has its own.
        stored, created = calls.create_interaction(make_interaction(), REQUEST)
        assert created is False
        assert fields(stored) == fields(first)
        assert ids(calls.get_user_interactions("ada", 10)) == [first.interaction_id]

    def test_a_repeat_gives_the_interaction_as_it_is_now(self, calls, make_interaction):
        first, _ = calls.create_interaction(make_interaction(response=""), REQUEST)
        calls.update_interaction(first.interaction_id, {"response": "arrived"})
        stored, created = calls.create_interaction(make_interaction(response=""), REQUEST)
        assert (stored.response, created) == ("arrived", False)

    def test_another_request_with_the_same_key_is_refused(self, calls, make_interaction):
        first, _ = calls.create_interaction(make_interaction(), REQUEST)
        with pytest.raises(IdempotencyKeyReused):
            calls.create_interaction(make_interaction(message="other"), OTHER_REQUEST)
        assert ids(calls.get_user_interactions("ada", 10)) == [first.interaction_id]

    def test_the_same_request_with_another_key_creates_again(self, calls, make_interaction):
        calls.create_interaction(make_interaction(), REQUEST)
        _, created = calls.create_interaction(make_interaction(), OTHER_KEY)
        assert created is True
        assert len(calls.get_user_interactions("ada", 10)) == 2

    def test_a_repeat_after_deletion_does_not_bring_it_back(self, calls, make_interaction):
        first, _ = calls.create_interaction(make_interaction(), REQUEST)
        calls.delete_interaction(first.interaction_id)
        with pytest.raises(IdempotentInteractionGone):
            calls.create_interaction(make_interaction(), REQUEST)
        assert calls.get_user_interactions("ada", 10) == []

    def test_a_repeat_does_not_give_what_another_user_has_under_that_id_by_now(
        self, calls, make_interaction
    ):
        calls.create_interaction(make_interaction(interaction_id="i"), REQUEST)
        calls.delete_interaction("i")
        calls.create_interaction(make_interaction(interaction_id="i", user_id="bob"))
        with pytest.raises(IdempotentInteractionGone):
            calls.create_interaction(make_interaction(interaction_id="i"), REQUEST)

    def test_a_conflict_does_not_consume_the_key(self, calls, make_interaction):
        calls.create_interaction(make_interaction(interaction_id="taken"))
        with pytest.raises(InteractionConflict):
            calls.create_interaction(
                make_interaction(interaction_id="taken", message="other"), REQUEST
            )
        stored, created = calls.create_interaction(
            make_interaction(interaction_id="free"), OTHER_REQUEST
        )
        assert (stored.interaction_id, created) == ("free", True)

    def test_a_broken_limit_does_not_consume_the_key(self, calls, make_interaction):
        with pytest.raises(InvalidInteraction):
            calls.create_interaction(make_interaction(input_tokens=-1), REQUEST)
        _, created = calls.create_interaction(make_interaction(), OTHER_REQUEST)
        assert created is True

    def test_a_refused_reuse_leaves_the_first_repeatable(self, calls, make_interaction):
        first, _ = calls.create_interaction(make_interaction(), REQUEST)
        with pytest.raises(IdempotencyKeyReused):
            calls.create_interaction(make_interaction(), OTHER_REQUEST)
        stored, _ = calls.create_interaction(make_interaction(), REQUEST)
        assert stored.interaction_id == first.interaction_id

    def test_a_key_can_stand_for_what_existed_already(self, calls, make_interaction):
        calls.create_interaction(make_interaction(interaction_id="i"))
        stored, created = calls.create_interaction(make_interaction(interaction_id="i"), REQUEST)
        assert (stored.interaction_id, created) == ("i", False)
        stored, created = calls.create_interaction(make_interaction(interaction_id="i"), REQUEST)
        assert (stored.interaction_id, created) == ("i", False)

    # After a change of the secret key.

    def test_a_request_is_known_by_its_earlier_hashes(self, calls, make_interaction):
        first, _ = calls.create_interaction(make_interaction(), REQUEST)
        stored, created = calls.create_interaction(make_interaction(), ROTATED)
        assert (stored.interaction_id, created) == (first.interaction_id, False)
        again = Idempotency("n" * 64, "t" * 64, earlier=(ROTATED, *ROTATED.earlier))
        stored, created = calls.create_interaction(make_interaction(), again)
        assert (stored.interaction_id, created) == (first.interaction_id, False)
        assert len(calls.get_user_interactions("ada", 10)) == 1

    def test_another_request_is_refused_by_its_earlier_hashes(self, calls, make_interaction):
        calls.create_interaction(make_interaction(), OTHER_REQUEST)
        with pytest.raises(IdempotencyKeyReused):
            calls.create_interaction(make_interaction(), ROTATED)

    def test_a_new_request_is_remembered_by_its_new_hashes(self, calls, make_interaction):
        first, created = calls.create_interaction(make_interaction(), ROTATED)
        assert created is True
        for known in (ROTATED, Idempotency(ROTATED.key, ROTATED.request)):
            stored, created = calls.create_interaction(make_interaction(), known)
            assert (stored.interaction_id, created) == (first.interaction_id, False)
        _, created = calls.create_interaction(make_interaction(), REQUEST)
        assert created is True

    def test_what_existed_is_remembered_after_a_change_too(self, calls, make_interaction):
        existing = make_interaction(interaction_id="i")
        calls.create_interaction(existing)
        for _ in range(2):
            stored, created = calls.create_interaction(
                make_interaction(interaction_id="i"), ROTATED
            )
            assert (stored.interaction_id, created) == ("i", False)
        calls.delete_interaction("i")
        with pytest.raises(IdempotentInteractionGone):
            calls.create_interaction(make_interaction(interaction_id="i"), ROTATED)

    # What is kept of a user's requests.

    def test_a_user_is_forgotten_with_what_the_keys_have_made(self, storage, make_interaction):
        storage.create_interaction_sync(make_interaction(interaction_id="i"), REQUEST)
        existing = make_interaction(interaction_id="e")
        storage.create_interaction_sync(existing)
        storage.create_interaction_sync(existing, Idempotency("e" * 64, "e" * 64))
        storage.create_interaction_sync(make_interaction(user_id="bob"), OTHER_KEY)
        assert storage.forget_user("ada")["idempotency_records"] == 2
        assert storage.forget_user("ada")["idempotency_records"] == 0
        _, created = storage.create_interaction_sync(make_interaction(), OTHER_REQUEST)
        assert created is True
        with pytest.raises(IdempotencyKeyReused):
            storage.create_interaction_sync(
                make_interaction(), Idempotency(OTHER_KEY.key, "another")
            )

    def test_users_whose_ids_begin_alike_are_kept_apart(self, storage, make_interaction):
        for number, user_id in enumerate(["ad", "ada", "ada#", "ada:x", "Ada"]):
            key = Idempotency(str(number) * 64, "r" * 64)
            storage.create_interaction_sync(make_interaction(user_id=user_id), key)
        assert storage.forget_user("ada")["idempotency_records"] == 1

    def test_many_records_of_a_user_go(self, storage, make_interaction):
        existing = make_interaction(interaction_id="i")
        storage.create_interaction_sync(existing)
        for number in range(30):
            storage.create_interaction_sync(existing, Idempotency(f"{number:064}", "r" * 64))
        assert storage.forget_user("ada")["idempotency_records"] == 30

    def test_no_list_shows_a_record_or_trips_over_it(self, calls, storage, make_interaction):
        made = [
            calls.create_interaction(make_interaction(), Idempotency(f"{number:064}", "r" * 64))[0]
            for number in range(5)
        ]
        newest_first = [each.interaction_id for each in reversed(made)]
        assert ids(calls.get_user_interactions("ada", 100)) == newest_first
        assert ids(storage.hot_of_user("ada", 100)) == newest_first
        query = {"limit": 2, "created_after": datetime.min.replace(tzinfo=UTC)}
        for pages in (user_pages(calls, "ada", **query), everyones_pages(calls, **query)):
            assert [len(page.records) for page in pages] == [2, 2, 1]
            assert ids(rows_of(pages)) == newest_first
