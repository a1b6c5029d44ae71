"""Readers and writers taken apart into steps that a scheduler mixes.

Each is a greenlet that runs the shipped LeasedCache and ReliableCells, and switches to the
scheduler before every access to a cell or to the database, and wherever it would sleep. So a run
is one interleaving, chosen at random, and can be repeated from its seed.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from itertools import count
from typing import Any, cast
from unittest import mock

import orjson
from greenlet import GreenletExit, getcurrent, greenlet
from redis.exceptions import TimeoutError as RedisTimeoutError

from storage.cache import background, generations, guarded, leases, read_through, reliable_cells
from storage.cache.generations import Generations
from storage.cache.guarded import PARTS, Guard, Guards
from storage.cache.keys import interaction_key
from storage.cache.leased import LeasedCache
from storage.cache.reliable_cells import ReliableCells
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction

CREATED = datetime(2026, 3, 1, tzinfo=UTC)
TTL = 300

NONE = "none"
DIES = "dies"
UNKNOWN = "unknown"
LOST = "lost"
LATE = "late"
REPEATED = "repeated"
AWAY = "away"
FAULTS = (
    *(NONE,) * 7,
    *(DIES,) * 3,
    UNKNOWN,
    *(LOST,) * 4,
    *(LATE,) * 4,
    *(REPEATED,) * 5,
    *(AWAY,) * 6,
)
"""Of each run one: a writer dies after its commit; a commit takes effect late or never; an
operation on cells is lost; it is done later; it is done, and once more later, since the client
has sent it twice; the cells are away for a while, for one process or for all, and a process may
end meanwhile.
"""

MAY_FAIL = ("lease", "begin", "fill", "end", "mark", "drop", "erase_user")


class Died(BaseException):
    """This greenlet is to do nothing more."""


class Task(greenlet):
    """A reader, a writer, or a thread that these have started."""

    def __init__(self, turns: Any, name: str, do: Any) -> None:
        super().__init__(do, parent=turns.scheduler)
        self.turns, self.name = turns, name
        self.has_died = False
        self.cache = None
        """That of its process."""


def step() -> None:
    """Let others go first, as the scheduler likes."""
    task = getcurrent()
    if task.has_died:
        raise Died
    task.parent.switch()


class Turns:
    """Lets one greenlet at a time take one step."""

    def __init__(self, chance: Any) -> None:
        self.scheduler = getcurrent()
        self.now = 0
        self.second = chance.choice([1e-4, 1e-3])
        self._chance = chance
        self._tasks = []

    def start(self, name: str, do: Any) -> None:
        self._tasks.append(Task(self, name, do))

    def let_one_go(self) -> bool:
        """Let one of the greenlets take its step; False when nobody is left."""
        tasks = self._tasks
        if not tasks:
            return False
        self.now += 1
        chosen = int(self._chance.random() * len(tasks))
        tasks[chosen].switch()
        if tasks[chosen].dead:
            tasks[chosen] = tasks[-1]
            tasks.pop()
        return True

    def end(self, cache: Any) -> None:
        """A process ends: nothing that it was about to do is done."""
        for task in self._tasks:
            task.has_died = task.has_died or task.cache is cache

    def stop(self) -> None:
        """Nobody takes another step, though an error has ended the run early."""
        for task in self._tasks:
            task.has_died = True
            task.throw(GreenletExit)


class _Time:
    """In place of the module `time`: a step takes a moment, and to sleep is a step.

    A thread that an earlier test has left behind finds it, too, and gets the real one.
    """

    @staticmethod
    def monotonic() -> Any:
        task = getcurrent()
        if not isinstance(task, Task):
            return time.monotonic()
        return 1e6 + task.turns.now * task.turns.second

    @staticmethod
    def sleep(seconds: float) -> None:
        if isinstance(getcurrent(), Task):
            step()
        else:
            time.sleep(seconds)


class _Threading:
    """In place of the module `threading`: a thread is one more greenlet."""

    Lock = staticmethod(threading.Lock)

    class Thread:
        def __init__(self, target: Any, name: str, daemon: Any) -> None:
            self._do = target

        def start(self) -> None:
            getcurrent().turns.start("thread", self._do)


class _Lock:
    """In place of a lock that is held during steps: whoever waits lets others go first."""

    def __init__(self) -> None:
        self._is_held = False

    def __enter__(self) -> None:
        while self._is_held:
            step()
        self._is_held = True

    def __exit__(self, *exception: Any) -> None:
        self._is_held = False


class _StrictThreading:
    Lock = _Lock


class _NoBackground:
    """In place of the module `background`: every use looks at the generations itself."""

    @staticmethod
    def repeat(do: Any, pause: float) -> bool:
        return False


@contextmanager
def in_steps() -> Iterator[Any]:
    """The shipped code sleeps and starts threads by the scheduler."""
    with ExitStack() as stack:
        for module in (read_through, reliable_cells, generations, background):
            stack.enter_context(mock.patch.object(module, "time", _Time))
        stack.enter_context(mock.patch.object(background, "threading", _Threading))
        stack.enter_context(mock.patch.object(generations, "threading", _StrictThreading))
        stack.enter_context(mock.patch.object(generations, "background", _NoBackground))
        stack.enter_context(mock.patch.object(generations, "PAUSE_SECONDS", 0.0))
        # pytest would keep what it says of each fault.
        for module in (guarded, generations, reliable_cells):
            stack.enter_context(mock.patch.object(module.logger, "disabled", True))
        yield


class DictCells:
    """What RedisCells does, in a dictionary by the functions of `leases` alone."""

    def __init__(self) -> None:
        self._cells = {}
        self._time = count(1)

    def get(self, key: str) -> Any:
        return self._cells.get(key)

    def lease(self, key: str, token: bytes) -> Any:
        mine = key not in self._cells
        token = self._token(token)
        self._set(key, leases.lease(self.get(key), token))
        return token if mine else None

    def _token(self, beginning: Any) -> Any:
        """Another each time, also if the same command arrives twice."""
        return b"%s.%d" % (beginning, next(self._time))

    def fill(self, key: str, token: bytes, value: Any, seconds: float) -> bool:
        before = self.get(key)
        self._set(key, leases.fill(before, token, value))
        return before != self.get(key)

    def begin(self, key: str, token: bytes, marked: Any) -> Any:
        token = self._token(token)
        self._set(key, leases.begin(self.get(key), token))
        self.mark(marked)
        return token

    def end(self, key: str, token: bytes, value: Any, seconds: float, marked: Any) -> None:
        self._set(key, leases.end(self.get(key), token, value))
        self.mark(marked)

    def mark(self, keys: Any) -> None:
        for key in keys:
            self._set(key, leases.mark(self.get(key)))

    def drop(self, key: str) -> None:
        self._set(key, leases.drop(self.get(key)))

    def delete(self, *keys: Any) -> None:
        for key in keys:
            self._cells.pop(key, None)

    def erase_user(self, user_id: str | None, check_time: Any = None) -> None:
        """As the scripts of `storage.cache.erasure`, key by key; all keys here are of ids."""
        named = orjson.dumps({"user_id": user_id})[1:-1]
        found = 1
        while found:
            found = 0
            for key in list(self._cells):
                step()
                found += self._erase_if(key, named)

    def _erase_if(self, key: str, named: Any) -> bool:
        cell = self.get(key) or b""
        if leases.is_lease_or_mark(cell):
            if cell.startswith(b"T"):
                self.delete(key)
            elif cell.startswith(b"B"):
                self._set(key, leases.BUSY)
            return False
        if named in cell:
            self.delete(key)
        return named in cell

    def _set(self, key: str, cell: Any) -> None:
        if cell is None:
            self.delete(key)
        else:
            self._cells[key] = cell


class DeleteOnWrite(DictCells):
    """The usual cache-aside, as a control: fill what was missed, delete what was written."""

    def lease(self, key: str, token: bytes) -> Any:
        return None if key in self._cells else token

    def fill(self, key: str, token: bytes, value: Any, seconds: float) -> bool:
        self._set(key, None if value is None else b"V" + value)
        return True

    def begin(self, key: str, token: bytes, marked: Any) -> Any:
        return token

    def end(self, key: str, token: bytes, value: Any, seconds: float, marked: Any) -> None:
        for each in (key, *marked):
            self.delete(each)

    def mark(self, keys: Any) -> None:
        pass


class SteppedCells:
    """What ReliableCells asks of RedisCells, in steps; one operation fails.

    What touches several keys may do so one by one, in any order, and in part, as several servers
    would.
    """

    def __init__(self, run: Any, fault: str) -> None:
        self._run, self._cells, self._chance = run, run.cells, run.chance
        self._fault = fault
        self._failing = self._chance.choice(MAY_FAIL) if fault in (LOST, LATE, REPEATED) else None
        self._skip = self._chance.choice((0, 0, 0, 1, 2))
        self._one_by_one = self._chance.random() < 0.5
        self.late = []

    def get(self, key: str) -> Any:
        step()
        cell = self._cells.get(key)
        self._run.note("get", key, cell)
        return cell

    def lease(self, *arguments: Any) -> Any:
        return self._do("lease", [("lease", arguments)])

    def fill(self, *arguments: Any) -> Any:
        return self._do("fill", [("fill", arguments)])

    def begin(self, key: str, token: bytes, marked: Any) -> Any:
        return self._do("begin", self._parts("begin", (key, token), marked))

    def end(self, key: str, token: bytes, value: Any, seconds: float, marked: Any) -> None:
        self._do("end", self._parts("end", (key, token, value, seconds), marked))

    def mark(self, keys: Any) -> None:
        parts = [("mark", ([key],)) for key in keys]
        self._do("mark", parts if self._one_by_one else [("mark", (keys,))])

    def drop(self, key: str) -> None:
        self._do("drop", [("drop", (key,))])

    def delete(self, *keys: Any) -> None:
        for key in keys:
            step()
            self.apply("delete", (key,))

    def erase_user(self, user_id: str | None, check_time: Any = None) -> Any:
        step()
        if self._failing == "erase_user" and self._is_time():
            raise RedisTimeoutError
        return self.apply("erase_user", (user_id,))

    def apply(self, name: str, arguments: Any) -> Any:
        answer = getattr(self._cells, name)(*arguments)
        self._run.note(name, *arguments, answer)
        return answer

    def _parts(self, name: str, arguments: Any, marked: Any) -> Any:
        if not self._one_by_one:
            return [(name, (*arguments, marked))]
        parts = [(name, (*arguments, ())), *(("mark", ([key],)) for key in marked)]
        self._chance.shuffle(parts)
        return parts

    def _do(self, name: str, parts: Any) -> Any:
        fails = name == self._failing and self._is_time()
        answer = None
        for part in parts:
            step()
            if fails:
                self._fail(part, len(parts))
            if not fails or self._fault == REPEATED:
                answered = self.apply(*part)
                answer = answered if part[0] == name else answer
        if fails and self._fault != REPEATED:
            raise RedisTimeoutError
        return answer

    def _is_time(self) -> bool:
        if self._skip:
            self._skip -= 1
            return False
        self._failing = None
        return True

    def _fail(self, part: Any, count: int) -> None:
        if count > 1 and self._fault != REPEATED and self._chance.random() < 0.5:
            self.apply(*part)  # its server has answered, another one has not
        elif self._fault == LOST:
            self._run.note("lost", *part)
        else:
            self._run.note("will be late", *part)
            self.late.append(part)


class Store:
    """Keeps the generations, as the database does."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._numbers: dict[str, int] = {}

    def read(self) -> dict[str, int]:
        if self._numbers or self._run.fault == AWAY:  # otherwise it makes no difference when
            step()
        return dict(self._numbers)

    def advance(self, groups: Any) -> dict[str, int]:
        step()
        self._numbers |= {group: self._numbers.get(group, 0) + 1 for group in groups}
        self._run.note("advanced", *groups)
        return dict(self._numbers)


class CellsOfProcess:
    """The cells as one process reaches them. While they are away, nothing is done."""

    def __init__(self, run: Any, stepped: Any, number: int) -> None:
        self._run, self._stepped, self._number = run, stepped, number

    def __getattr__(self, name: str) -> Any:
        def do(*arguments: Any) -> Any:
            if not self._run.is_away(self._number):
                return getattr(self._stepped, name)(*arguments)
            step()
            self._run.note("failed", name)
            raise RedisTimeoutError

        return do


class NeverOpen:
    """In place of a Guard: what fails is tried again, so that no run waits for a breaker."""

    back_since = 0.0

    def ask(self, ask: Any, otherwise: Any) -> Any:
        try:
            return ask()
        except RedisTimeoutError:
            return otherwise


class Interleaving:
    """Some writers and readers of one process or of two, with at most one fault, and evictions."""

    keys: tuple[str, ...] = ()
    """Those that are used, for evictions."""
    losses = 0.05
    """Evictions in a step."""

    def __init__(self, seed: Any, cells: Any, faults: Any = FAULTS, traced: bool = False) -> None:
        self.chance = random.Random(seed)
        self.trace = [] if traced else None
        self.cells = cells
        self.turns = Turns(self.chance)
        self.stale = self.reads = self.hits = 0
        self.fault = self.chance.choice(faults)
        self._commits = self.chance.choice((1, 1, 2))
        """Until the one at which a writer dies, or which may take effect late."""
        self._late_commits = []
        self.writing = 0
        self._is_cluster = self.chance.random() < 0.5
        processes = self.chance.choice((1, 2))
        self.evicts = True
        self.store: Any = Store(self)
        self.stepped: Any = SteppedCells(self, self.fault)
        self._caches = [self._cache(number) for number in range(processes)]
        self._plan_outage(processes)
        self.set_up()

    def _plan_outage(self, processes: int) -> None:
        self._away_from = self._away_until = self._ends_at = 0
        if self.fault == AWAY:
            self._away_from = self.chance.randrange(40)
            self._away_until = self._away_from + self.chance.randrange(10, 150)
            self._away_for = self.chance.choice(([0], [processes - 1], [0, 1]))
            if self.chance.random() < 0.5:
                self._ends_at = self.chance.randrange(self._away_from, self._away_until) + 1

    def is_away(self, process: int) -> bool:
        """Whether a process cannot reach the cells now."""
        away = self._away_from <= self.turns.now < self._away_until
        return away and process in self._away_for

    def set_up(self) -> None:
        """What a kind of runs has besides."""

    def _cache(self, number: int) -> Any:
        guards: Any = Guards(cast(Any, None))
        if self._is_cluster:
            guards._guards = [Guard(lambda: None) for _ in range(PARTS)]
        if self.fault == AWAY:
            guards._guards = [NeverOpen() for _ in guards._guards]
        own: Any = (
            CellsOfProcess(self, self.stepped, number) if self.fault == AWAY else self.stepped
        )
        cells = ReliableCells(own, guards, Generations(self.store))
        return LeasedCache(self.of_process(cells), TTL, None, None)

    def of_process(self, cells: Any) -> Any:
        """The cells as the LeasedCache of one process sees them."""
        return cells

    def a_cache(self) -> Any:
        """That of a process, of which the task is from now on."""
        cache = getcurrent().cache = self.chance.choice(self._caches)
        return cache

    def tasks(self) -> Iterator[Any]:
        """What each greenlet does, by name."""
        raise NotImplementedError

    @contextmanager
    def busy(self) -> Iterator[Any]:
        """Around a write."""
        self.writing += 1
        try:
            yield
        finally:
            self.writing -= 1

    def commit(self, do: Any) -> Any:
        """A commit, which is a step; its writer may die then, or not know what comes of it."""
        step()
        self._commits -= 1
        if self.fault == UNKNOWN and not self._commits:
            self.note("commit, perhaps later")
            self._late_commits.append(do)
            raise StorageUnavailable
        done = do()
        if self.fault == DIES and not self._commits:
            self.note("dies")
            getcurrent().has_died = True
            raise Died
        return done

    def go(self) -> Any:
        for name, do in self.tasks():
            self.turns.start(name, lambda do=do: _until_death(do))
        try:
            while self.turns.let_one_go():
                if self.turns.now == self._ends_at:
                    self.turns.end(self._caches[self._away_for[0]])
                    self.note("a process ends")
                if self.chance.random() < self.losses:
                    self.lose(self.chance.choice(self.keys))
                if self.stepped.late and self.chance.random() < 0.3:
                    self.stepped.apply(*self.stepped.late.pop())
                if self._late_commits and self.chance.random() < 0.1:
                    self._late_commits.pop()()
        finally:
            self.turns.stop()
        return self

    def lose(self, key: str) -> None:
        """A cell is evicted, or has lived long enough: longer than it takes to write."""
        if self.evicts or not (self.writing or self._late_commits or self.has_news(key)):
            self.cells.delete(key)
            self.note("evicted", key)

    def has_news(self, key: str) -> bool:
        """Whether a reader of the database may not have seen all that the cell is about."""
        return False

    def note(self, *what: Any) -> None:
        if self.trace is not None:
            who = getattr(getcurrent(), "name", "-")
            self.trace.append(f"{self.turns.now:4} {who:10} {' '.join(map(_readable, what))}")


class OfOneId(Interleaving):
    """Writers that save and delete one interaction, and readers of it by id."""

    keys = (interaction_key("i"),)

    def set_up(self) -> None:
        self.version = self.acknowledged = 0
        self.deleted = set()
        self._deletes = self.chance.random() < 0.5

    def tasks(self) -> Iterator[Any]:
        yield from ((f"writer {number}", self.write) for number in range(2))
        yield from ((f"reader {number}", self.read) for number in range(3))

    def write(self) -> None:
        cache = self.a_cache()
        for _ in range(self.chance.choice((1, 2))):
            deletes = self._deletes and self.chance.random() < 0.4
            with self.busy(), cache.writing("i") as writing:
                mine = self.commit(lambda deletes=deletes: self._write(deletes))
                if not deletes:
                    writing.committed = numbered(mine)
            self.acknowledged = max(self.acknowledged, mine)
            self.note("acknowledged", mine)

    def _write(self, deletes: Any) -> Any:
        self.version += 1
        if deletes:
            self.deleted.add(self.version)
        self.note("deletes as" if deletes else "commits", self.version)
        return self.version

    def read(self) -> None:
        cache = self.a_cache()
        for _ in range(8):
            acknowledged, misses = self.acknowledged, []
            self.note("reads")
            found = cache.get("i", lambda _, misses=misses: self._find(misses))
            self.reads += 1
            self.hits += not misses
            self.judge(None if found is None else found.interaction.input_tokens, acknowledged)

    def _find(self, misses: Any) -> Any:
        misses.append(self.version)
        step()
        self.note("database:", self.version)
        return None if self.version in self.deleted else numbered(self.version)

    def judge(self, version: Any, acknowledged: Any) -> None:
        if version is None:
            stale = not any(acknowledged <= deleted for deleted in self.deleted)
        else:
            stale = version < acknowledged
        self.note("STALE" if stale else "found", version)
        self.stale += stale


@cache
def numbered(number: int) -> Any:
    return ChatInteraction(
        interaction_id="i", user_id="ada", input_tokens=number, created_at=CREATED
    )


def _until_death(do: Any) -> None:
    with suppress(Died, StorageUnavailable):
        do()


def _readable(what: str) -> Any:
    if isinstance(what, ChatInteraction):
        own = (what.interaction_id, what.input_tokens, what.message, what.response, what.model_used)
        return f"<{' '.join(map(str, own))} {what.created_at:%M:%S}>"
    text = what if isinstance(what, str) else repr(what)
    return f"{text[:10]}..{text[-6:]}" if text.startswith("chat:") else text[:100]


def runs(kind: Any, make_cells: Any, seeds: Any, **options: Any) -> tuple[Any, ...]:
    """The sums of stale reads, of hits and of all reads; tells how the first stale one came."""
    stale = hits = reads = 0
    first = None
    with in_steps():
        for seed in seeds:
            run = kind(seed, make_cells(), **options).go()
            stale, hits, reads = stale + run.stale, hits + run.hits, reads + run.reads
            if run.stale and first is None:
                first = seed
        if first is not None:
            print(f"Seed {first}:", *trace(kind, make_cells, first, **options), sep="\n")
    print(f"{len(seeds)} runs: {stale} stale of {reads} reads, {hits} hits")
    return stale, hits, reads


def stale_seed(kind: Any, make_cells: Any, seeds: Any, **options: Any) -> int | None:
    """The first of these runs with a stale read, which it tells; None if there is none."""
    with in_steps():
        for seed in seeds:
            if kind(seed, make_cells(), **options).go().stale:
                print(f"Seed {seed}:", *trace(kind, make_cells, seed, **options), sep="\n")
                return int(seed)
    return None


def trace(kind: Any, make_cells: Any, seed: Any, **options: Any) -> list[Any]:
    """What happens in a run, up to the first stale read."""
    run = kind(seed, make_cells(), traced=True, **options).go()
    end = next((n for n, line in enumerate(run.trace) if "STALE" in line), len(run.trace))
    return [f"fault: {run.fault}", *run.trace[: end + 1]]
