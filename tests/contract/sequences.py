"""Any sequence of operations does what a dictionary in memory would do.

Few ids, users and times, so that operations meet: replaced, taken, deleted, equal times.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from storage.exceptions import InteractionConflict
from storage.interface import Outcome, PageQuery
from storage.models import ChatInteraction
from tests.contract.calls import (
    SynchronousCalls,
    at,
    everyones_pages,
    fields,
    newest_first,
    rows_of,
    user_pages,
)
from tests.contract.round_trips import PROFILE, empty

USERS = st.sampled_from(["ada", "bob"])
IDS = st.sampled_from(["1", "2", "3", "4", "5"])
TIMES = st.sampled_from([at(), at(microseconds=1), at(hours=1)])
MAYBE_TIMES = st.one_of(st.none(), TIMES)
INTERACTIONS = st.builds(
    ChatInteraction,
    interaction_id=IDS,
    user_id=USERS,
    message=st.sampled_from(["m1", "m2"]),
    response=st.sampled_from(["", "r"]),
    model_used=st.just("m"),
    input_tokens=st.just(1),
    created_at=TIMES,
)


class StorageMachine(RuleBasedStateMachine):
    """Does the same to a storage and to `self.model`, which maps ids to interactions."""

    def __init__(self, storage):
        super().__init__()
        self.storage = storage
        self.model = {}

    @initialize()
    def start_empty(self):
        empty(self.storage)

    @rule(interaction=INTERACTIONS)
    def save(self, interaction):
        known = self.model.get(interaction.interaction_id)
        try:
            self.storage.save_interaction_sync(interaction)
        except InteractionConflict:
            assert known.user_id != interaction.user_id
            return
        assert known is None or known.user_id == interaction.user_id
        assert known is None or known.created_at == interaction.created_at
        self.model[interaction.interaction_id] = interaction

    @rule(interaction=INTERACTIONS)
    def create(self, interaction):
        known = self.model.get(interaction.interaction_id)
        try:
            stored, created = self.storage.create_interaction_sync(interaction)
        except InteractionConflict:
            assert not known.same_content(interaction)
            return
        assert created is (known is None)
        self.model.setdefault(interaction.interaction_id, interaction)
        assert fields(stored) == fields(self.model[interaction.interaction_id])

    @rule(batch=st.lists(INTERACTIONS, max_size=4))
    def create_many(self, batch):
        expected = []
        for interaction in batch:
            known = self.model.setdefault(interaction.interaction_id, interaction)
            if known is interaction:
                expected.append(Outcome.CREATED)
            else:
                same = known.same_content(interaction)
                expected.append(Outcome.UNCHANGED if same else Outcome.CONFLICT)
        assert self.storage.create_interactions_sync(batch) == expected

    @rule(interaction_id=IDS, user_id=st.one_of(st.none(), USERS), tokens=st.integers(0, 3))
    def update(self, interaction_id, user_id, tokens):
        known = self.model.get(interaction_id)
        found = self.storage.update_interaction_sync(
            interaction_id, {"output_tokens": tokens}, user_id=user_id
        )
        if known is None or user_id not in (None, known.user_id):
            assert found is None
            return
        changed = {"output_tokens": tokens, "updated_at": found.updated_at}
        assert fields(found) == fields(known) | changed
        assert found.updated_at >= known.updated_at
        self.model[interaction_id] = found

    @rule(interaction_id=IDS, user_id=st.one_of(st.none(), USERS))
    def delete(self, interaction_id, user_id):
        known = self.model.get(interaction_id)
        theirs = known is not None and user_id in (None, known.user_id)
        assert self.storage.delete_interaction_sync(interaction_id, user_id=user_id) is theirs
        if theirs:
            del self.model[interaction_id]

    @rule(interaction_id=IDS)
    def get(self, interaction_id):
        found = self.storage.get_interaction_sync(interaction_id)
        assert fields(found) == fields(self.model.get(interaction_id))

    @rule(user_id=USERS, limit=st.integers(1, 6), after=MAYBE_TIMES, before=MAYBE_TIMES)
    def page(self, user_id, limit, after, before):
        calls = SynchronousCalls(self.storage)
        query = {"limit": limit, "created_after": after, "created_before": before}
        expected = [
            interaction
            for interaction in newest_first(self.model.values())
            if (after is None or interaction.created_at >= after)
            and (before is None or interaction.created_at < before)
        ]
        listed = rows_of(everyones_pages(calls, **query))
        assert [fields(i) for i in listed] == [fields(i) for i in expected]
        listed = rows_of(user_pages(calls, user_id, **query))
        assert [fields(i) for i in listed] == [fields(i) for i in expected if i.user_id == user_id]

    @invariant()
    def everything_is_listed(self):
        listed = self.storage.list_interactions_sync(PageQuery(limit=10)).interactions
        assert [fields(i) for i in listed] == [fields(i) for i in newest_first(self.model.values())]


class SequencesContract:
    def test_any_sequence_of_operations_does_what_a_dictionary_would(self, storage):
        run_state_machine_as_test(
            lambda: StorageMachine(storage), settings=settings(PROFILE, stateful_step_count=25)
        )
