"""Running servers, and what one round of an operation costs them."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.client import Call, Client, Operations
from harness.contestants import Contestant
from harness.data import DataSet, count_rows
from harness.processes import Server, free_port

START_SECONDS = 60
SETTLE_SECONDS = 0.02
"""After the last answer: what a server does once it has answered belongs to the request."""


IN_FLIGHT = 4
"""Requests that the server has at once while its CPU time is measured: it is never idle, as
a server that needs its CPU time is not. Beyond that, a longer queue changes nothing."""

LATENCY_SHARE = 1 / 4
"""Then this part of the requests is sent one at a time, and its latency measured."""


class Operation(NamedTuple):
    """An operation, and how many requests of it a round has, as a part of --requests."""

    title: str
    make: Callable[[Operations], Call]
    share: float


OPERATIONS = [
    Operation("get by id", Operations.get, 5),
    Operation("same id again", Operations.hit, 5),
    Operation("page of 50", Operations.page, 1),
    Operation("save one", Operations.save, 1),
    Operation("batch of 100", Operations.batch, 1 / 20),
]


class Round(NamedTuple):
    """One operation in one round: CPU seconds per request; seconds until each answer."""

    cpu: float
    latencies: list[float]


class Runner:
    """A running server with its own copy of the filled database, and its client."""

    def __init__(
        self, contestant: Contestant, data_set: DataSet, server: Server, client: Client
    ) -> None:
        self.contestant = contestant
        self._server = server
        self._client = client
        self._data_set = data_set
        self._operations = Operations(contestant, data_set)

    def start(self, warm_up: int) -> None:
        """Wait until it answers, check that it has the data, and warm it up."""
        first_call = self._operations.hit()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._client.send(first_call)
                break
            except ConnectionError:
                self._client.close()
                if time.monotonic() > deadline or self._server.process.poll() is not None:
                    raise
                time.sleep(0.1)
        for call in self._operations.first_pages():
            self._client.send(call)
        self._server.fix_tree()
        for operation in OPERATIONS:
            self.measure(operation, max(1, int(warm_up * operation.share)))

    def measure(self, operation: Operation, requests: int) -> Round:
        """Ask for this operation so many times under load, then some times alone."""
        alone = max(2, int(requests * LATENCY_SHARE))
        calls = [operation.make(self._operations) for _ in range(requests + alone)]
        self._client.close()  # the server may have, meanwhile
        before = self._server.cpu_seconds()
        self._client.send_all(calls[alone:])
        time.sleep(SETTLE_SECONDS)
        cpu = (self._server.cpu_seconds() - before) / requests
        return Round(cpu, [self._client.send(call) for call in calls[:alone]])

    def check_saved(self, database: Path) -> None:
        """Everything that was acknowledged is in the database, and nothing else."""
        expected = self._data_set.count + self._operations.saved
        found = count_rows(database, self.contestant.table)
        if found != expected:
            title = self.contestant.title
            raise RuntimeError(f"{title}: {found} rows in the database, not {expected}.")


@contextmanager
def running(
    contestant: Contestant, data_set: DataSet, folder: Path, warm_up: int
) -> Iterator[Runner]:
    """A warm server on a copy of its database under `folder`; checked and stopped at the end."""
    contestant.install()
    filled = contestant.filled_database(data_set)
    own_folder = folder / contestant.slug
    shutil.copytree(filled, own_folder)
    database = own_folder / "db.sqlite3"
    port = free_port()
    client = Client(port, (own_folder / "authorization").read_text(), IN_FLIGHT)
    server = Server(
        contestant.serve(contestant, port),
        folder=contestant.folder,
        environment=contestant.environment(database, port),
        log=folder / f"{contestant.slug}.log",
    )
    runner = Runner(contestant, data_set, server, client)
    try:
        with server:
            runner.start(warm_up)
            yield runner
        runner.check_saved(database)
    except Exception as error:
        error.add_note(f"The end of the log of {contestant.title}:\n{server.log_tail()}")
        raise
    finally:
        client.close()
