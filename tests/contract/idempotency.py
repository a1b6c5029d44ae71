"""`create_interaction` with an idempotency key: a repeated request takes effect once."""

import pytest

from storage.exceptions import (
    IdempotencyKeyReused,
    IdempotentInteractionGone,
    InteractionConflict,
    InvalidInteraction,
)
from storage.models.idempotency import Idempotency
from tests.contract.calls import fields, ids

REQUEST = Idempotency(key="k" * 64, request="r" * 64)
OTHER_REQUEST = Idempotency(key=REQUEST.key, request="s" * 64)
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
