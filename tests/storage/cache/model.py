"""All states that some writers and readers of one key can bring about, with at most one fault, or
with any number of operations that do not arrive and of processes that end.

What becomes of the cell is told by the functions of `storage.cache.leases` and by nothing else.
Each access to the cell or to the database is one step. Writers and readers go on for ever, so a
state says all that matters of the past, and nothing of its length: what is checked is any number
of writes and reads, so many of them at a time.

Versions count commits. A cached value is outdated if a write after it has been acknowledged. If
there is such a value in the cell, a read that starts now is given it, and so that is what is
looked for. A write is acknowledged in the very step of its last operation, which is the earliest
possible. Each reader and each writer is a process of its own.

A new generation makes what is cached, or about to be, OLD: whoever knows the generation does not
use it. What is said of outdated values is said of those readers. The others learn of it later:
what they lease until then is like what was leased before the new generation.

What is left out, because it changes neither the cell nor what anyone may put there: reads that
find the key busy, and then only ask the database; operations that are lost, since one that is late
may be so for ever; a `get` that fails; whoever waits for another reader; a commit of which its
writer does not hear, since it is never acknowledged, and so is like a writer that dies.

# Note [Few states]

Two states are taken for the same if they differ only in names. Actors of a kind are sorted. Of a
token only this matters: whether it is in the cell, and whether it is in an operation that is late;
no others will ever be compared. Of a version: which of the writes that are committed, but not yet
acknowledged, it contains; and all that are outdated are the same.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from typing import Any, NamedTuple

from storage.cache import leases
from storage.cache.leases import Cell

IDLE = 0
BEGUN, COMMITTED = 1, 2
UNFIT, ABSENT, LEASED, FOUND, NOTHING = 1, 2, 3, 4, 5

DIES = "dies"
FAILS = "fails"
FAULTS = frozenset({DIES, FAILS})
"""A writer dies; an operation is said to have failed, and is done later or never."""

OLD = -1
"""In place of the version of a value that is of an earlier generation."""

NOT_AT_ALL, IN_MEMORY, BY_GENERATION = "not at all", "in memory", "by generation"
"""What a writer does if its last operation has failed: nothing; its process remembers the key until
it can invalidate it; it starts a new generation, and only then acknowledges its write.
"""

ANY = "any"
QUIET = "quiet"
"""When cells go: at any moment; or none while a writer is busy whose first operation was done, for
marks outlast writers. That is how it is unless the server runs out of memory.
"""


class Writer(NamedTuple):
    phase: int = IDLE
    token: bytes = b""
    confirmed: bool = False
    version: int = 0
    """0 if nothing was committed."""
    gives: bool = False
    """Whether it will put that version in the cell."""
    is_old: bool = False
    """Whether it began in an earlier generation."""


class Reader(NamedTuple):
    phase: int = IDLE
    token: bytes = b""
    version: int = 0
    """OLD from the lease on, if that was in an earlier generation."""


class Late(NamedTuple):
    """An operation that may yet be done."""

    name: str
    token: bytes
    version: int | None


class State(NamedTuple):
    cell: Cell
    row: int
    is_there: bool
    acknowledged: int
    missed: int | None
    """The version of a writer whose last operation failed, while its process remembers that."""
    may_fail: bool
    late: Late | None
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]


Step = tuple[str, State]

OPERATIONS: dict[str, Callable[..., Cell]] = {
    "lease": lambda cell, token, value: leases.lease(cell, token),
    "fill": lambda cell, token, value: leases.fill(cell, token, value),
    "begin": lambda cell, token, value: leases.begin(cell, token),
    "end": lambda cell, token, value: leases.end(cell, token, value),
    "mark": lambda cell, token, value: leases.mark(cell),
    "drop": lambda cell, token, value: leases.drop(cell),
}


class Model:
    """What can happen; tests replace some of it by what is wrong."""

    first: str | None = "begin"
    last: str | None = "end"
    faults = FAULTS
    repeated = frozenset(OPERATIONS)
    """Operations that may be done and once more later, for the client sends again what timed out:
    one more fault.
    """
    goes = ANY
    away = False
    """Any number of operations may not arrive."""
    ends = False
    """Any number of processes may end, orderly or not, at any moment."""
    misses = NOT_AT_ALL
    """What becomes of a last operation that has failed."""
    tries = 2
    """How often the last operation is tried."""
    ages = frozenset({Writer, Reader})
    """Those who keep the generation that they have begun in."""
    tokens_differ = True
    """An operation that is done late, or twice, has another token then: the server makes them."""
    trusts = False
    """A writer puts its value there though it does not know whether all know of it."""

    def __init__(self, **changes: Any) -> None:
        operations = {name: do for name, do in changes.items() if name in OPERATIONS}
        self.operations = OPERATIONS | operations
        for name in changes.keys() - operations.keys():
            assert hasattr(Model, name), name
            setattr(self, name, changes[name])

    def start(self, writers: int, readers: int) -> State:
        """Nothing is cached yet."""
        return State(
            cell=None,
            row=1,
            is_there=True,
            acknowledged=1,
            missed=None,
            may_fail=bool(self.faults or self.repeated),
            late=None,
            writers=(Writer(),) * writers,
            readers=(Reader(),) * readers,
        )

    def steps(self, state: State) -> Iterator[Step]:
        """Every step that can be taken, told in words, and what it leads to."""
        seen = None
        for number, writer in enumerate(state.writers):
            if writer != seen:  # they are sorted
                yield from self._writes(state, number, writer)
            seen = writer
        met = None
        for number, reader in enumerate(state.readers):
            if reader != met:
                yield from self._reads(state, number, reader)
            met = reader
        yield from self._happens(state)

    # Writers.

    def _writes(self, state: State, number: int, writer: Writer) -> Iterator[Step]:
        name = f"writer {number + 1}"
        if writer.phase == IDLE:
            yield from self._begins(state, number, name)
            return
        if writer.phase == BEGUN:
            yield from self._commits(state, number, writer, name)
        else:
            yield from self._ends(state, number, writer, name)
        dead = self._with_writer(state, number, Writer())
        if self.ends:
            yield f"{name}'s process ends", dead
        elif state.may_fail and DIES in self.faults:
            yield f"{name} dies", dead._replace(may_fail=False)

    def _begins(self, state: State, number: int, name: str) -> Iterator[Step]:
        token = new_token(state)
        for how, after, answered in self._do(state, self.first, token):
            begun = Writer(BEGUN, token, answered)
            yield f"{name}: {how}", self._with_writer(after, number, begun)

    def _commits(self, state: State, number: int, writer: Writer, name: str) -> Iterator[Step]:
        version = state.row + 1
        knows = self._may_give(writer)
        for keeps, verb in ((True, "commits"), (False, "deletes as")):
            after = State(state.cell, version, keeps, *state[3:])
            committed = writer._replace(phase=COMMITTED, version=version, gives=knows and keeps)
            yield f"{name} {verb} {version}", self._with_writer(after, number, committed)
        nothing = writer._replace(phase=COMMITTED)
        yield f"{name} commits nothing", self._with_writer(state, number, nothing)

    def _ends(self, state: State, number: int, writer: Writer, name: str) -> Iterator[Step]:
        given = (OLD if writer.is_old else writer.version) if writer.gives else None
        for how, after, answered in self._do(state, self.last, writer.token, given):
            text = f"{name}: {how}"
            if not answered and self.tries == 2:
                yield text, after  # it tries again
            if answered or self.tries == 1 or self.misses == BY_GENERATION:
                ended = self._with_writer(after, number, Writer())
                yield self._is_done(ended, writer.version, text, answered)

    def _may_give(self, writer: Writer) -> bool:
        """Whether a writer may put a value in the cell, as far as is known."""
        if writer.phase != BEGUN:
            return writer.gives
        return self.last == "end" and (writer.confirmed or self.trusts)

    def _is_done(self, state: State, version: int, text: str, answered: bool) -> Step:
        if not answered and self.misses == IN_MEMORY:
            return text, state._replace(missed=version)
        if not answered and self.misses == BY_GENERATION:
            state, text = self._in_new_generation(state), f"{text}, starts a new generation"
        return f"{text}, acknowledges {version}", _acknowledged(state, version)

    def _in_new_generation(self, state: State) -> State:
        is_value = leases.value_of(state.cell) is not None
        late, writers, readers = state.late, state.writers, state.readers
        if late is not None and late.version is not None:
            late = late._replace(version=OLD)
        if Writer in self.ages:
            writers = tuple(each._replace(is_old=self._may_give(each)) for each in writers)
        if Reader in self.ages:
            readers = tuple(
                each._replace(version=OLD) if each.phase in (LEASED, FOUND) else each
                for each in readers
            )
        cell = b"V%d" % OLD if is_value else state.cell
        return state._replace(cell=cell, late=late, writers=writers, readers=readers)

    @staticmethod
    def _with_writer(state: State, number: int, writer: Writer) -> State:
        before = state.writers
        writers = (*before[:number], writer, *before[number + 1 :])
        return State(*state[:7], writers, state.readers)

    # Readers.

    def _reads(self, state: State, number: int, reader: Reader) -> Iterator[Step]:
        name = f"reader {number + 1}"
        phase = reader.phase
        if phase == IDLE:
            changes = self._gets(state)
        elif phase == UNFIT:
            changes = self._drops(state)
        elif phase == ABSENT:
            changes = self._leases(state)
        elif phase == LEASED:
            changes = self._asks_database(state, reader)
        else:
            changes = self._fills(state, reader)
        before = state.readers
        for what, after, changed in changes:
            readers = (*before[:number], changed, *before[number + 1 :])
            yield f"{name} {what}", State(*after[:8], readers)
        if self.ends and phase != IDLE:
            readers = (*before[:number], Reader(), *before[number + 1 :])
            yield f"{name}'s process ends", State(*state[:8], readers)

    def _gets(self, state: State) -> Iterator[tuple[str, State, Reader]]:
        if state.cell is None:
            yield "finds nothing", state, Reader(ABSENT)
        elif leases.value_of(state.cell) is not None:
            yield "finds a value of no use", state, Reader(UNFIT)

    def _drops(self, state: State) -> Iterator[tuple[str, State, Reader]]:
        for how, after, _ in self._do(state, "drop"):
            yield how, after, Reader(ABSENT)

    def _leases(self, state: State) -> Iterator[tuple[str, State, Reader]]:
        token = new_token(state)
        for how, after, answered in self._do(state, "lease", token):
            mine = answered and self.has_lease(after.cell, token)
            yield how, after, Reader(LEASED, token) if mine else Reader()

    @staticmethod
    def has_lease(cell: Cell, token: bytes) -> bool:
        """Whether a reader may fill what it finds."""
        return cell == b"T" + token

    def _asks_database(self, state: State, reader: Reader) -> Iterator[tuple[str, State, Reader]]:
        if state.is_there:
            version = OLD if reader.version == OLD else state.row
            yield f"reads {state.row}", state, Reader(FOUND, reader.token, version)
        yield "reads nothing", state, Reader(NOTHING, reader.token)  # or gets no answer

    def _fills(self, state: State, reader: Reader) -> Iterator[tuple[str, State, Reader]]:
        value = reader.version if reader.phase == FOUND else None
        for how, after, _ in self._do(state, "fill", reader.token, value):
            yield how, after, Reader()

    # Operations, and what else happens.

    def _do(
        self, state: State, name: str | None, token: bytes = b"", version: int | None = None
    ) -> Iterator[tuple[str, State, bool]]:
        """What may come of an operation, and whether its actor is told that it is done."""
        if name is None:
            yield "does nothing", state, True
            return
        text = name if version is None else f"{name} with {version}"
        after = self._apply(state, name, token, version)
        yield text, after, True
        if self.away:
            yield f"{text} does not arrive", state, False
        if not state.may_fail:
            return
        differs = self.tokens_differ and name in ("lease", "begin")
        late = Late(name, b"another" if differs else token, version)
        if FAILS in self.faults:
            yield f"{text} FAILS", state._replace(may_fail=False, late=late), False
        if name in self.repeated:
            yield f"{text}, to be REPEATED", after._replace(may_fail=False, late=late), True

    def _apply(self, state: State, name: str, token: bytes, version: int | None) -> State:
        value = None if version is None else b"%d" % version
        cell = self.operations[name](state.cell, token, value)
        return state if cell == state.cell else State(cell, *state[1:])

    def _happens(self, state: State) -> Iterator[Step]:
        if state.cell is not None and (self.goes == ANY or not _is_marked(state)):
            yield "the cell goes", State(None, *state[1:])
        if state.late is not None:
            after = self._apply(state, *state.late)._replace(late=None)
            yield f"the late {state.late.name} is done", after
        if state.missed is not None:
            cell = None if self.last == "end" else self.operations["mark"](state.cell, b"", None)
            counts = _acknowledged(state, state.missed)._replace(missed=None)
            yield (
                f"what was missed is made up for, {state.missed} counts",
                counts._replace(cell=cell),
            )
            if self.ends:
                yield f"its process ends, {state.missed} counts", counts


def _is_marked(state: State) -> bool:
    """Whether a writer is busy who has been told that all know of it."""
    return any(writer.confirmed for writer in state.writers)


def _acknowledged(state: State, version: int) -> State:
    return state._replace(acknowledged=version) if version > state.acknowledged else state


def new_token(state: State) -> bytes:
    """One that is nowhere."""
    actors: list[Any] = [*state.writers, *state.readers]
    used: set[Any] = {actor.token for actor in actors}
    late: Any = state.late
    used |= {state.cell and state.cell[1:], late and late.token}
    return next(token for token in map(b"%d".__mod__, count(1)) if token not in used)


def is_outdated(state: State) -> bool:
    """Whether a read that starts now is given less than what was acknowledged."""
    value = leases.value_of(state.cell)
    return value is not None and OLD < int(value) < state.acknowledged


# See Note [Few states].


def canonical(state: State) -> State:
    """The one that stands for all that differ from it only in names."""
    return _with_plain_tokens(_with_plain_versions(state))


def _with_plain_versions(state: State) -> State:
    acknowledged, pending = state.acknowledged, _committed(state.writers)
    if state.missed is not None and state.missed not in pending:
        pending = tuple(sorted((*pending, state.missed)))
    pending = pending[bisect_right(pending, acknowledged) :]
    if acknowledged == 1 and state.row == len(pending) + 1:
        return state  # they have been plain before

    def plain(version: int | None) -> int | None:
        if version is None or version == OLD:
            return version
        return 0 if version < acknowledged else 1 + bisect_right(pending, version)

    value, late = leases.value_of(state.cell), state.late
    return state._replace(
        cell=state.cell if value is None else b"V%d" % plain(int(value)),
        row=plain(state.row),
        acknowledged=1,
        missed=plain(state.missed),
        late=late and late._replace(version=plain(late.version)),
        writers=tuple(each._replace(version=plain(each.version)) for each in state.writers),
        readers=tuple(each._replace(version=plain(each.version)) for each in state.readers),
    )


@cache
def _committed(writers: tuple[Writer, ...]) -> tuple[int, ...]:
    return tuple(sorted(each.version for each in writers))


def _with_plain_tokens(state: State) -> State:
    cell, late = state.cell, state.late
    in_cell = cell[1:] if cell is not None and cell[:1] in (b"T", b"B") else b""
    in_late = b"" if late is None else late.token
    if in_cell:
        cell = cell[:1] + _plain_token(in_cell, in_cell, in_late)
    if in_late:
        late = Late(late.name, _plain_token(in_late, in_cell, in_late), late.version)
    writers = _plain_actors(state.writers, in_cell, in_late)
    readers = _plain_actors(state.readers, in_cell, in_late)
    return State(cell, *state[1:6], late, writers, readers)


GONE = b"gone"


@cache
def _plain_actors(actors: tuple, in_cell: bytes, in_late: bytes) -> tuple:
    plain = sorted(
        each._replace(token=_plain_token(each.token, in_cell, in_late)) for each in actors
    )
    for number, each in enumerate(plain):
        if each.token == GONE:  # no two have the same
            own = b"%s %d" % (type(each).__name__.encode(), number)
            plain[number] = each._replace(token=own)
    return tuple(plain)


def _plain_token(token: bytes, in_cell: bytes, in_late: bytes) -> bytes:
    if not token:
        return token
    if token == in_cell:
        return b"both" if token == in_late else b"cell"
    return b"late" if token == in_late else GONE


class Found(NamedTuple):
    """How many states there are, and how a read comes to be outdated, if one does."""

    states: int
    trace: list[str]


def explore(model: Model, writers: int, readers: int) -> Found:
    """All states, nearest first, up to the first in which a read would be outdated."""
    start = canonical(model.start(writers, readers))
    came_from: dict[State, State | None] = {start: None}
    level = [start]
    while level:
        further = []
        for state in level:
            for _, after in model.steps(state):
                plain = canonical(after)
                if plain in came_from:
                    continue
                came_from[plain] = state
                if is_outdated(plain):
                    return Found(len(came_from), _trace(model, _path(came_from, plain)))
                further.append(plain)
        level = further
    return Found(len(came_from), [])


def _path(came_from: dict[State, State | None], state: State | None) -> list[State]:
    path = []
    while state is not None:
        path.append(state)
        state = came_from[state]
    return path[::-1]


def _trace(model: Model, path: list[State]) -> list[str]:
    """The same steps once more, with actors, tokens and versions that keep their names."""
    state = model.start(len(path[0].writers), len(path[0].readers))
    lines = []
    for target in path[1:]:
        what, state = next(
            (what, after) for what, after in model.steps(state) if canonical(after) == target
        )
        lines.append(f"{what:44} {'-' if state.cell is None else state.cell.decode()}")
    value = leases.value_of(state.cell).decode()
    return [*lines, f"a read that starts now gives {value}, and {state.acknowledged} was written"]
