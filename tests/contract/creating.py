"""`create_interaction` without an idempotency key: create, repeat, conflict."""

import pytest

from storage.exceptions import InteractionConflict
from tests.contract.calls import at, fields

OTHER_CONTENT = {
    "user_id": "bob",
    "message": "m",
    "response": "r",
    "model_used": "model-2",
    "input_tokens": 6,
    "output_tokens": 8,
}


class CreatingContract:
    def test_a_new_interaction_is_stored_as_given(self, calls, make_interaction):
        new = make_interaction(interaction_id="i", created_at=at(), updated_at=at(seconds=1))
        stored, created = calls.create_interaction(new)
        assert created is True
        assert fields(stored) == fields(calls.get_interaction("i"))
        assert fields(stored) == fields(new)

    def test_a_repeat_gives_the_first_and_changes_nothing(self, calls, make_interaction):
        first, _ = calls.create_interaction(make_interaction(interaction_id="i", created_at=at()))
        repeat = make_interaction(interaction_id="i", created_at=at(days=1))
        stored, created = calls.create_interaction(repeat)
        assert created is False
        assert fields(stored) == fields(first)
        assert fields(calls.get_interaction("i")) == fields(first)
        assert len(calls.get_user_interactions("ada", 10)) == 1

    @pytest.mark.parametrize("name", OTHER_CONTENT)
    def test_a_taken_id_with_other_content_is_a_conflict(self, storage, make_interaction, name):
        first, _ = storage.create_interaction_sync(make_interaction(interaction_id="i"))
        other = make_interaction(interaction_id="i", **{name: OTHER_CONTENT[name]})
        with pytest.raises(InteractionConflict):
            storage.create_interaction_sync(other)
        assert fields(storage.get_interaction_sync("i")) == fields(first)
        assert storage.get_user_interactions_sync("bob", 10) == []

    def test_the_coroutine_reports_a_conflict_too(self, calls, make_interaction):
        calls.create_interaction(make_interaction(interaction_id="i"))
        with pytest.raises(InteractionConflict) as refusal:
            calls.create_interaction(make_interaction(interaction_id="i", message="other"))
        assert refusal.value.interaction_id == "i"

    def test_a_conflict_does_not_tell_what_is_stored(self, storage, make_interaction):
        storage.create_interaction_sync(make_interaction(interaction_id="i", message="secret-1"))
        with pytest.raises(InteractionConflict) as refusal:
            storage.create_interaction_sync(
                make_interaction(interaction_id="i", message="secret-2", user_id="bob")
            )
        assert "secret" not in str(refusal.value)
        assert "ada" not in str(refusal.value)

    def test_a_repeat_after_the_interaction_was_completed_is_a_conflict(
        self, calls, make_interaction
    ):
        calls.create_interaction(make_interaction(interaction_id="i", response=""))
        calls.update_interaction("i", {"response": "arrived"})
        with pytest.raises(InteractionConflict):
            calls.create_interaction(make_interaction(interaction_id="i", response=""))
        assert calls.get_interaction("i").response == "arrived"
