"""Any sequence of operations does what dictionaries in memory would do, on each of some storages.

Few ids, users, times and keys, so that operations meet: replaced, taken, deleted, equal times.
"""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from storage.exceptions import (
    IdempotencyKeyReused,
    IdempotentInteractionGone,
    InteractionConflict,
    InvalidInteraction,
    StorageError,
)
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from storage.records.questions import Question
from storage.records.searches import Search
from tests import switches
from tests.contract.calls import at, fields, newest_first
from tests.contract.round_trips import PROFILE, empty

STEPS = switches.number("CONTRACT_STEPS")

LARGE = "m2 " + "large " * 10
"""Longer than texts that lie in a row where LARGE_BYTES says so."""

LARGE_BYTES = 50

USERS = st.sampled_from(["ada", "bob", "a:#😀"])
MAYBE_USERS = st.one_of(st.none(), USERS)
# Of the last two the first is smaller, but greater as UTF-16.
IDS = st.sampled_from(["1", "2", "1#", "a:b", "#", "\uffee", "😀"])
# The second has no microseconds.
TIMES = st.sampled_from([at(), at(microseconds=-123456), at(microseconds=1), at(hours=1)])
MAYBE_TIMES = st.one_of(st.none(), TIMES)
INTERACTIONS = st.fixed_dictionaries(
    {
        "interaction_id": IDS,
        "user_id": USERS,
        "message": st.sampled_from(["m1", "m2", LARGE]),
        "response": st.sampled_from(["", "r", LARGE]),
        "model_used": st.sampled_from(["m", "n"]),
        "input_tokens": st.just(1),
        "created_at": TIMES,
        "updated_at": st.just(at(days=1)),
    }
)
CHANGES = st.fixed_dictionaries(
    {"output_tokens": st.integers(-1, 3)},
    optional={
        "response": st.sampled_from(["", "r", "s", LARGE]),
        "model_used": st.sampled_from(["m", "n"]),
    },
)
KEYS = st.sampled_from(["k1", "k2", "k3"])
REQUESTS = st.sampled_from(["r1", "r2"])
FILTERS = st.fixed_dictionaries({"created_after": MAYBE_TIMES, "created_before": MAYBE_TIMES})
SEARCHES = st.fixed_dictionaries(
    {"user_id": USERS, "limit": st.integers(1, 8), "created_after": MAYBE_TIMES},
    optional={
        "text": st.sampled_from(["m", "M1", "r m2"]),
        "model_used": st.sampled_from(["m", "n"]),
        "answered": st.booleans(),
        "tokens_min": st.integers(0, 4),
    },
)
CACHE_KEYS = st.sampled_from(["chat:ada:0", "chat:ada:1", "chat:a:#😀:0"])


def told(interaction):
    """What two storages must say of one interaction: all but when they have changed it."""
    return interaction and {k: v for k, v in fields(interaction).items() if k != "updated_at"}


def listed(interactions):
    return [told(interaction) for interaction in interactions]


@dataclass
class Row:
    """What a storage must hold under an id, as a value that no storage can change."""

    values: dict

    @property
    def interaction(self):
        return ChatInteraction(**self.values)

    def __getattr__(self, name):
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Continuation:
    """A cursor, and what it stands for."""

    cursor: str
    user_id: str | None
    filters: dict
    position: tuple[datetime, str]


@dataclass
class Side:
    """A storage, and what it must hold. Each operation compares, and gives what was told."""

    storage: object
    rows: dict = field(default_factory=dict)
    made: dict = field(default_factory=dict)
    """Idempotency keys, each with its request and the id that it has made."""
    cached: dict = field(default_factory=dict)

    def save(self, interaction):
        known = self.rows.get(interaction.interaction_id)
        try:
            self.storage.save_interaction_sync(interaction)
        except InteractionConflict:
            assert known.user_id != interaction.user_id
            raise
        assert known is None or known.user_id == interaction.user_id
        assert known is None or known.created_at == interaction.created_at
        self.keep(interaction)
        return told(interaction)

    def create(self, interaction, idempotency):
        known = self.rows.get(interaction.interaction_id)
        request, made = self.made.get(idempotency and idempotency.key, (None, None))
        try:
            stored, created = self.storage.create_interaction_sync(interaction, idempotency)
        except IdempotencyKeyReused:
            assert made is not None
            assert request != idempotency.request
            raise
        except IdempotentInteractionGone:
            assert request == idempotency.request
            assert made not in self.rows or self.rows[made].user_id != interaction.user_id
            raise
        except InteractionConflict:
            assert made is None
            assert not known.interaction.same_content(interaction)
            raise
        if made is not None:
            assert request == idempotency.request
            assert created is False
            assert fields(stored) == self.rows[made].values
            return told(stored), created
        assert created is (known is None)
        if created:
            self.keep(interaction)
        elif idempotency is None:
            assert known.interaction.same_content(interaction)
        if idempotency:
            self.made[idempotency.key] = (idempotency.request, interaction.interaction_id)
        assert fields(stored) == self.rows[interaction.interaction_id].values
        return told(stored), created

    def create_many(self, batch):
        expected = []
        for interaction in batch:
            known = self.rows.get(interaction.interaction_id)
            if known is None:
                self.keep(interaction)
                expected.append(Outcome.CREATED)
            else:
                same = known.interaction.same_content(interaction)
                expected.append(Outcome.UNCHANGED if same else Outcome.CONFLICT)
        outcomes = self.storage.create_interactions_sync(batch)
        assert outcomes == expected
        return outcomes

    def update(self, interaction_id, changes, user_id):
        known = self.rows.get(interaction_id)
        theirs = known is not None and user_id in (None, known.user_id)
        try:
            found = self.storage.update_interaction_sync(interaction_id, changes, user_id=user_id)
        except InvalidInteraction:
            assert theirs
            assert ChatInteraction(**(known.values | changes)).violations()
            raise
        if not theirs:
            assert found is None
            return None
        assert fields(found) == known.values | changes | {"updated_at": found.updated_at}
        assert found.updated_at >= known.updated_at or known.updated_at == at(days=1)
        self.keep(found)
        return told(found)

    def delete(self, interaction_id, user_id):
        known = self.rows.get(interaction_id)
        theirs = known is not None and user_id in (None, known.user_id)
        assert self.storage.delete_interaction_sync(interaction_id, user_id=user_id) is theirs
        if theirs:
            del self.rows[interaction_id]
        return theirs

    def get(self, interaction_id):
        found = self.storage.get_interaction_sync(interaction_id)
        known = self.rows.get(interaction_id)
        assert fields(found) == (known and known.values)
        return told(found)

    def newest(self, user_id, limit):
        found = self.storage.get_user_interactions_sync(user_id, limit)
        assert [fields(i) for i in found] == self.expected(user_id)[:limit]
        return listed(found)

    def page(self, user_id, limit, filters, continued=None):
        """One page. The one that follows `continued` is of what is stored now."""
        query = PageQuery(limit=limit, cursor=continued and continued.cursor, **filters)
        if user_id is None:
            page = self.storage.list_interactions_sync(query)
        else:
            page = self.storage.list_user_interactions_sync(user_id, query)
        expected = self.expected(user_id, continued and continued.position, **filters)
        assert [fields(i) for i in page.interactions] == expected[:limit]
        assert (page.next_cursor is not None) is (len(expected) > limit)
        return listed(page.interactions), page.next_cursor

    def expected(self, user_id, position=None, created_after=None, created_before=None):
        return [
            row.values
            for row in newest_first(self.rows.values())
            if user_id in (None, row.user_id)
            and (created_after is None or row.created_at >= created_after)
            and (created_before is None or row.created_at < created_before)
            and (position is None or (row.created_at, row.interaction_id) < position)
        ]

    def search(self, wanted):
        page = self.storage.search_interactions_sync(Search(**wanted))
        expected = [
            values
            for values in self.expected(wanted["user_id"], created_after=wanted["created_after"])
            if wanted.get("model_used") in (None, values["model_used"])
            and wanted.get("answered") in (None, bool(values["response"]))
            and wanted.get("tokens_min", 0) <= values["input_tokens"] + values["output_tokens"]
            and all(
                any(values[name].startswith(word) for name in ("message", "response"))
                for word in wanted.get("text", "").lower().split()
            )
        ]
        assert [fields(i) for i in page.interactions] == expected[: wanted["limit"]]
        assert (page.next_cursor is not None) is (len(expected) > wanted["limit"])
        return listed(page.interactions), page.next_cursor

    def answer(self, question):
        found = self.storage.find_answer_sync(question)
        answers = [row for row in self.rows.values() if question.is_answered_by(row.interaction)]
        newest = newest_first(answers)[0].values if answers else None
        assert fields(found) == newest
        return told(found)

    def cache_set(self, key, value):
        self.storage.cache_set_sync(key, value, 600)
        self.cached[key] = value
        assert self.storage.cache_get_sync(key) == value

    def cache_get(self, key):
        # A cache may forget; what it does not forget is what was set last.
        assert self.storage.cache_get_sync(key) in (None, self.cached.get(key))

    def keep(self, interaction):
        self.rows[interaction.interaction_id] = Row(fields(interaction))


class StorageMachine(RuleBasedStateMachine):
    """Does the same to each storage. They must tell the same, cursors and refusals included."""

    continuations = Bundle("continuations")

    def __init__(self, *storages):
        super().__init__()
        self.sides = [Side(storage) for storage in storages]
        self.run = uuid4().hex
        """Keys of an earlier run are remembered, and so are cached strings."""
        self.operations = 0

    @initialize()
    def start_empty(self):
        for side in self.sides:
            empty(side.storage)

    @rule(values=INTERACTIONS)
    def save(self, values):
        self.each(lambda side: side.save(ChatInteraction(**values)))

    @rule(values=INTERACTIONS)
    def create(self, values):
        self.each(lambda side: side.create(ChatInteraction(**values), None))

    @rule(values=INTERACTIONS, key=KEYS, request=REQUESTS)
    def create_once(self, values, key, request):
        idempotency = Idempotency(key=f"{self.run}{key}", request=request)
        self.each(lambda side: side.create(ChatInteraction(**values), idempotency))

    @rule(batch=st.lists(INTERACTIONS, max_size=5))
    def create_many(self, batch):
        self.each(lambda side: side.create_many([ChatInteraction(**values) for values in batch]))

    @rule(interaction_id=IDS, user_id=MAYBE_USERS, changes=CHANGES)
    def update(self, interaction_id, user_id, changes):
        self.each(lambda side: side.update(interaction_id, changes, user_id))

    @rule(interaction_id=IDS, user_id=MAYBE_USERS)
    def delete(self, interaction_id, user_id):
        self.each(lambda side: side.delete(interaction_id, user_id))

    @rule(interaction_id=IDS)
    def get(self, interaction_id):
        self.each(lambda side: side.get(interaction_id))

    @rule(user_id=USERS, limit=st.integers(1, 8))
    def newest(self, user_id, limit):
        self.each(lambda side: side.newest(user_id, limit))

    @rule(user_id=MAYBE_USERS, limit=st.integers(1, 3), filters=FILTERS)
    def every_page(self, user_id, limit, filters):
        continued = None
        while True:
            continued = self.continuation(user_id, limit, filters, continued)
            if continued is None:
                return

    @rule(target=continuations, user_id=MAYBE_USERS, limit=st.integers(1, 3), filters=FILTERS)
    def first_page(self, user_id, limit, filters):
        found = self.continuation(user_id, limit, filters)
        return multiple(*[found] if found else [])

    @rule(continued=continuations, limit=st.integers(1, 3))
    def later_page(self, continued, limit):
        """Whatever has been changed since the page before it."""
        self.continuation(continued.user_id, limit, continued.filters, continued)

    @rule(wanted=SEARCHES)
    def search(self, wanted):
        self.each(lambda side: side.search(wanted))

    @rule(
        user_id=USERS,
        message=st.sampled_from(["m1", "m2", LARGE]),
        model_used=st.sampled_from([None, "m", "n"]),
    )
    def answer(self, user_id, message, model_used):
        self.each(lambda side: side.answer(Question(user_id, message, model_used)))

    @rule(key=CACHE_KEYS, value=st.sampled_from(["", "v", "{}", "😀"]))
    def cache_set(self, key, value):
        self.each(lambda side: side.cache_set(f"{key}{self.run}", value))

    @rule(key=CACHE_KEYS)
    def cache_get(self, key):
        self.each(lambda side: side.cache_get(f"{key}{self.run}"))

    def teardown(self):
        self.each(lambda side: side.page(None, 100, {}))

    def continuation(self, user_id, limit, filters, continued=None):
        """The continuation of a page; None of the last page."""
        rows, cursor = self.each(lambda side: side.page(user_id, limit, filters, continued))
        if cursor is None:
            return None
        position = (rows[-1]["created_at"], rows[-1]["interaction_id"])
        return Continuation(cursor, user_id, filters, position)

    def each(self, do):
        """What all storages tell; an error that they owe counts as told."""
        self.operations += 1
        answers = [_answer(do, side) for side in self.sides]
        assert all(answer == answers[0] for answer in answers)
        return answers[0]


def _answer(do, side):
    try:
        return do(side)
    except StorageError as error:
        return type(error), str(error)


def run_sequences(*storages, machine=StorageMachine, **changes):
    """Run random sequences on all storages at once; says how many, of how many operations.

    `changes` are to Hypothesis's settings.
    """
    machines = []

    def make():
        machines.append(machine(*storages))
        return machines[-1]

    run_state_machine_as_test(
        make, settings=settings(PROFILE, stateful_step_count=STEPS, **changes)
    )
    operations = sum(machine.operations for machine in machines)
    return f"{len(machines):,} sequences, {operations:,} operations on each storage"


class SequencesContract:
    def test_any_sequence_of_operations_does_what_dictionaries_would(self, storage):
        run_sequences(storage)
