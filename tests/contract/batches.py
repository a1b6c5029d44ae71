"""`create_interactions`: many in one step, one outcome each."""

import pytest

from storage.exceptions import InvalidInteraction, InvalidInteractions
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from tests.contract.calls import at, fields, ids, newest_first

CREATED, UNCHANGED, CONFLICT = Outcome.CREATED, Outcome.UNCHANGED, Outcome.CONFLICT


class BatchesContract:
    def test_no_interactions_give_no_outcomes(self, calls):
        assert calls.create_interactions([]) == []

    def test_each_outcome_is_at_the_place_of_its_interaction(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="same"))
        calls.save_interaction(make_interaction(interaction_id="different"))
        calls.save_interaction(make_interaction(interaction_id="bobs", user_id="bob"))
        batch = [
            make_interaction(interaction_id="different", message="other"),
            make_interaction(interaction_id="new-1"),
            make_interaction(interaction_id="same"),
            make_interaction(interaction_id="bobs", user_id="ada"),
            make_interaction(interaction_id="new-2"),
        ]
        assert calls.create_interactions(batch) == [
            CONFLICT,
            CREATED,
            UNCHANGED,
            CONFLICT,
            CREATED,
        ]

    def test_what_exists_is_never_changed(self, calls, make_interaction):
        original = make_interaction(interaction_id="i", created_at=at())
        calls.save_interaction(original)
        again = make_interaction(interaction_id="i", created_at=at(days=1))
        other = make_interaction(interaction_id="i", message="other", created_at=at(days=2))
        calls.create_interactions([again, other])
        assert fields(calls.get_interaction("i")) == fields(original)

    def test_the_first_of_two_equal_ones_in_a_batch_counts(self, calls, make_interaction):
        batch = [
            make_interaction(interaction_id="i", created_at=at()),
            make_interaction(interaction_id="i", created_at=at(days=1)),
        ]
        assert calls.create_interactions(batch) == [CREATED, UNCHANGED]
        assert calls.get_interaction("i").created_at == at()

    def test_the_first_of_two_different_ones_in_a_batch_counts(self, calls, make_interaction):
        batch = [
            make_interaction(interaction_id="i", message="first"),
            make_interaction(interaction_id="i", message="second"),
            make_interaction(interaction_id="i", user_id="bob"),
        ]
        assert calls.create_interactions(batch) == [CREATED, CONFLICT, CONFLICT]
        assert calls.get_interaction("i").message == "first"

    def test_repeating_a_batch_is_safe(self, calls, make_interaction):
        batch = [make_interaction(interaction_id=f"i{n}", created_at=at()) for n in range(5)]
        assert calls.create_interactions(batch) == [CREATED] * 5
        before = [fields(i) for i in calls.get_user_interactions("ada", 10)]
        assert calls.create_interactions(batch) == [UNCHANGED] * 5
        assert [fields(i) for i in calls.get_user_interactions("ada", 10)] == before

    def test_an_invalid_interaction_stops_all_before_anything_is_written(
        self, calls, make_interaction
    ):
        batch = [
            make_interaction(interaction_id="first"),
            make_interaction(interaction_id="second", output_tokens=-1),
            make_interaction(interaction_id="third"),
        ]
        with pytest.raises(InvalidInteraction) as refusal:
            calls.create_interactions(batch)
        assert list(refusal.value.violations) == ["output_tokens"]
        assert calls.list_interactions(PageQuery()).interactions == []
        assert calls.get_interaction("first") is None

    def test_every_invalid_interaction_is_named_with_its_place(self, calls, make_interaction):
        batch = [
            make_interaction(),
            make_interaction(user_id="", message="secret\0"),
            make_interaction(),
            make_interaction(input_tokens=-1),
        ]
        with pytest.raises(InvalidInteractions) as refusal:
            calls.create_interactions(batch)
        found = {place: list(names) for place, names in refusal.value.by_index.items()}
        assert found == {1: ["user_id", "message"], 3: ["input_tokens"]}
        assert refusal.value.violations == refusal.value.by_index[1]
        assert "secret" not in str(refusal.value)

    def test_one_that_exists_does_not_keep_the_others_out(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i3", message="stored"))
        batch = [make_interaction(interaction_id=f"i{n}", created_at=at(hours=n)) for n in range(6)]
        outcomes = calls.create_interactions(batch)
        assert outcomes == [CREATED] * 3 + [CONFLICT] + [CREATED] * 2
        assert calls.get_interaction("i3").message == "stored"
        assert len(calls.get_user_interactions("ada", 10)) == 6

    def test_a_batch_may_hold_a_thousand_interactions_of_many_users(self, calls, make_interaction):
        batch = [
            make_interaction(
                interaction_id=f"i{n:04}",
                user_id=f"user-{n % 7}",
                message=f"message {n}",
                created_at=at(seconds=n % 13),
            )
            for n in range(1000)
        ]
        assert calls.create_interactions(batch) == [CREATED] * 1000
        assert ids(calls.get_user_interactions("user-3", 1000)) == ids(
            newest_first(i for i in batch if i.user_id == "user-3")
        )
        assert fields(calls.get_interaction("i0999")) == fields(batch[-1])

    def test_an_id_that_was_looked_for_in_vain_is_found_once_created(self, calls, make_interaction):
        assert calls.get_interaction("i") is None
        calls.create_interactions([make_interaction(interaction_id="i")])
        assert calls.get_interaction("i") is not None
