"""Running servers, and what one round of an operation costs them."""

import json
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness import wrk
from harness.checks import BATCH_SIZE, Checker
from harness.contestants import Contestant
from harness.data import SEED, DataSet, rows_since
from harness.processes import Server, free_port

SETTLE_SECONDS = 0.02
"""After the last answer: what a server does once it has answered belongs to the request."""

SAVES = 4_000
BATCHES = 60
"""Different bodies of each kind; then they begin again."""


class Operation(NamedTuple):
    """A call that is measured: its title, the name of its path, and of its file of lines."""

    title: str
    path: str
    lines: str
    rows: int = 0
    """Interactions that one call saves."""


GET = Operation("get by id", "get", "ids")
HIT = Operation("same id again", "get", "id")
PAGE = Operation("page of 50", "page", "users")
SAVE = Operation("save one", "save", "saves", 1)
BATCH = Operation("batch of 100", "batch", "batches", BATCH_SIZE)
OPERATIONS = [GET, HIT, PAGE, SAVE, BATCH]


class Lines:
    """What the calls of all servers differ in, as files of which each line belongs to a call."""

    def __init__(self, data_set: DataSet, folder: Path) -> None:
        self.folder = folder
        generator = random.Random(SEED)
        ids = generator.sample(data_set.ids, data_set.count)
        new = [data_set.new(number) for number in range(max(SAVES, BATCHES * BATCH_SIZE))]
        batches = [
            {"interactions": new[place * BATCH_SIZE : (place + 1) * BATCH_SIZE]}
            for place in range(BATCHES)
        ]
        self.characters = [len(body["message"]) + len(body["response"]) for body in new]
        self._write("ids", ids)
        self._write("id", [data_set.ids[data_set.count // 2]])
        self._write("users", generator.choices(data_set.users, k=1000))
        self._write("saves", [json.dumps(body, ensure_ascii=False) for body in new[:SAVES]])
        self._write("batches", [json.dumps(body, ensure_ascii=False) for body in batches])

    def numbers(self, operation: Operation, first: int, count: int) -> Iterator[int]:
        """The numbers of the interactions in so many calls from line `first`."""
        of_file = SAVES if operation is SAVE else BATCHES
        for line in range(first, first + count):
            start = line % of_file * operation.rows
            yield from range(start, start + operation.rows)

    def _write(self, name: str, lines: list[str]) -> None:
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


class Round(NamedTuple):
    """One operation in one round: CPU seconds per request, requests a second, latencies in s."""

    cpu: float
    later: float
    """CPU seconds per request, once all are answered."""
    rate: float
    p50: float
    p99: float


class Runner:
    """A running server with its own copy of the filled database."""

    def __init__(
        self, contestant: Contestant, data_set: DataSet, lines: Lines, server: Server, port: int
    ) -> None:
        self.contestant = contestant
        self.server = server
        self._data_set = data_set
        self._lines = lines
        self._port = port
        self._authorization = ""
        self._sent = dict.fromkeys(OPERATIONS, 0)
        self._saved = 0
        self._characters = 0

    def start(self, authorization: str) -> None:
        """Wait until it answers, and check its answers."""
        self._authorization = authorization
        with Checker(self.contestant, self._data_set, self._port, authorization) as checker:
            self.server.wait(checker.wait)
            checker.check_reads()
            self._count(checker.check_writes())
        self.server.fix_tree()
        self.server.wait_until_idle()

    def send(self, operation: Operation, connections: int, **until: float) -> wrk.Outcome:
        """Load it with an operation, for `seconds` or for a number of `requests`."""
        before, _, after = self.contestant.paths[operation.path].partition("{")
        method = "POST" if operation.rows else "GET"
        lines = self._lines.folder / operation.lines
        load = wrk.Load(method, before, after.partition("}")[2], lines)
        first = self._sent[operation]
        found = wrk.send(
            load, self._port, self._authorization, connections=connections, first=first, **until
        )
        self._sent[operation] += found.requests
        if operation.rows:
            self._count(self._lines.numbers(operation, first, found.requests))
        return found

    def measure(self, operation: Operation, connections: int, seconds: float) -> Round:
        """What the operation costs while so many requests are in flight."""
        before = self.server.cpu_seconds()
        found = self.send(operation, connections, seconds=seconds)
        time.sleep(SETTLE_SECONDS)
        answered = self.server.cpu_seconds()
        if operation.rows:  # what was saved may have to be indexed
            self.server.wait_until_idle()
        cpu = (answered - before) / found.requests
        later = (self.server.cpu_seconds() - answered) / found.requests
        return Round(cpu, later, found.requests / found.seconds, found.p50, found.p99)

    def check_saved(self, database: Path) -> None:
        """Everything that was acknowledged is in the database, and nothing else."""
        found = rows_since(database, self.contestant.table, self._data_set.end)
        if found != (self._saved, self._characters):
            raise RuntimeError(
                f"{self.contestant.title}: {found[0]} rows with {found[1]} characters were saved, "
                f"and {self._saved} with {self._characters} acknowledged."
            )

    def _count(self, numbers: "Iterator[int] | list[int]") -> None:
        for number in numbers:
            self._saved += 1
            self._characters += self._lines.characters[number]


@contextmanager
def running(
    contestant: Contestant, data_set: DataSet, lines: Lines, folder: Path, workers: int = 1
) -> Iterator[Runner]:
    """A server on a copy of its database under `folder`; checked and stopped at the end."""
    contestant.install()
    filled = contestant.filled_database(data_set)
    own_folder = folder / f"{contestant.slug}-{workers}"
    shutil.copytree(filled, own_folder)
    database = own_folder / "db.sqlite3"
    port = free_port()
    server = Server(
        contestant.serve(contestant, port, workers),
        folder=contestant.folder,
        environment=contestant.environment(database, port, workers),
        log=folder / f"{contestant.slug}.log",
    )
    runner = Runner(contestant, data_set, lines, server, port)
    try:
        with server:
            runner.start((own_folder / "authorization").read_text())
            yield runner
        runner.check_saved(database)
    except Exception as error:
        error.add_note(f"The end of the log of {contestant.title}:\n{server.log_tail()}")
        raise
    finally:
        shutil.rmtree(own_folder)
