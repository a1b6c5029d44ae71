"""`save_interaction`: create or replace."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from storage.exceptions import InteractionConflict, InvalidInteraction
from tests.contract.calls import at, fields


class SavingContract:
    def test_what_was_saved_is_read_back_field_by_field(self, calls, make_interaction):
        interaction = make_interaction(interaction_id="i", created_at=at())
        calls.save_interaction(interaction)
        assert fields(calls.get_interaction("i")) == {
            "interaction_id": "i",
            "user_id": "ada",
            "message": "What is a B-tree?",
            "response": "A balanced tree for disks.",
            "model_used": "model-1",
            "input_tokens": 5,
            "output_tokens": 7,
            "created_at": at(),
            "updated_at": interaction.updated_at,
        }

    def test_saving_returns_nothing_and_sets_updated_at_to_now(self, calls, make_interaction):
        interaction = make_interaction(created_at=at(), updated_at=at())
        before = datetime.now(UTC)
        assert calls.save_interaction(interaction) is None
        assert before <= interaction.updated_at <= datetime.now(UTC)

    def test_saving_again_replaces_the_content(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i"))
        replacement = make_interaction(
            interaction_id="i",
            message="m2",
            response="r2",
            model_used="model-2",
            input_tokens=50,
            output_tokens=70,
        )
        calls.save_interaction(replacement)
        assert fields(calls.get_interaction("i")) == fields(replacement)

    def test_saving_again_keeps_created_at_and_tells_it(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", created_at=at()))
        replacement = make_interaction(interaction_id="i", created_at=at(days=3))
        calls.save_interaction(replacement)
        assert replacement.created_at == at()
        assert calls.get_interaction("i").created_at == at()

    def test_saving_again_moves_updated_at(self, calls, make_interaction):
        interaction = make_interaction(interaction_id="i")
        calls.save_interaction(interaction)
        first = calls.get_interaction("i").updated_at
        calls.save_interaction(interaction)
        assert calls.get_interaction("i").updated_at > first

    def test_saving_again_does_not_make_a_second_one(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", created_at=at()))
        calls.save_interaction(make_interaction(interaction_id="i", created_at=at(days=1)))
        assert len(calls.get_user_interactions("ada", 10)) == 1

    def test_an_id_never_changes_hands(self, calls, make_interaction):
        original = make_interaction(interaction_id="i", user_id="ada", message="Ada's")
        calls.save_interaction(original)
        with pytest.raises(InteractionConflict) as refusal:
            calls.save_interaction(make_interaction(interaction_id="i", user_id="bob"))
        assert refusal.value.interaction_id == "i"
        assert fields(calls.get_interaction("i")) == fields(original)
        assert calls.get_user_interactions("bob", 10) == []

    def test_a_refused_save_leaves_what_is_stored(self, calls, make_interaction):
        original = make_interaction(interaction_id="i")
        calls.save_interaction(original)
        with pytest.raises(InvalidInteraction):
            calls.save_interaction(make_interaction(interaction_id="i", input_tokens=-1))
        assert fields(calls.get_interaction("i")) == fields(original)

    def test_the_instant_counts_and_not_the_offset_it_is_written_with(
        self, calls, make_interaction
    ):
        tokyo = timezone(timedelta(hours=9))
        calls.save_interaction(
            make_interaction(interaction_id="i", created_at=at().astimezone(tokyo))
        )
        calls.save_interaction(make_interaction(interaction_id="j", created_at=at(hours=1)))
        assert calls.get_interaction("i").created_at == at()
        assert [i.interaction_id for i in calls.get_user_interactions("ada", 2)] == ["j", "i"]

    def test_ids_that_the_store_makes_are_all_different(self, calls, make_interaction):
        made = [make_interaction() for _ in range(20)]
        for interaction in made:
            calls.save_interaction(interaction)
        assert len(calls.get_user_interactions("ada", 50)) == 20
