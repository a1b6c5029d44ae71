"""Many processes on one file: nobody is locked out, nothing is lost, nothing stale is read."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import pytest

from storage.sqlite import wal, write_lock
from tests.chat import fork_server, processes
from tests.chat.calls import BATCH, INTERACTIONS, LOOKUP, new, of_user, one
from tests.sqlite import connect
from tests.system.reliability.servers import DATABASE, Client, integrity

WRITERS = 16
CONNECTIONS = 12
"""To a server with two workers: enough that hardly ever all of them go to the same one."""

LOADERS = 4


def run_writers(folder, seconds, **values):
    """What `tests.system.reliability.writers` has done with the database in this folder."""
    finished = fork_server.run(
        ["-m", "tests.system.reliability.writers", WRITERS, seconds],
        processes.environment(folder, DJANGO_SETTINGS_MODULE="config.settings") | values,
        preloaded=True,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def responses(database):
    """The response of every interaction in a database file."""
    with closing(connect(database)) as connection:
        return dict(
            connection.execute("SELECT interaction_id, response FROM storage_chatinteraction")
        )


def test_sixteen_writing_processes_lose_nothing_and_are_never_locked_out(tmp_path):
    done = run_writers(tmp_path, seconds=1)
    assert done["errors"] == []
    assert min(done["writes"]) > 0
    assert responses(tmp_path / DATABASE) == done["expected"]
    assert integrity(tmp_path / DATABASE) == "ok"
    assert done["log"] < wal.LIMIT


@pytest.mark.exhaustive  # it tests the test above
@pytest.mark.skipif(write_lock.NEEDED, reason="every transaction waits for a lock of our own")
def test_without_immediate_transactions_they_would_be_locked_out(tmp_path):
    # The control: a transaction that begins with a read cannot wait for its turn to write.
    for _ in range(20):
        done = run_writers(
            tmp_path,
            seconds=1,
            DJANGO_SETTINGS_MODULE="tests.system.reliability.unprotected",
            WITHOUT="immediate_transactions",
        )
        if any("database is locked" in error for error in done["errors"]):
            return
    raise AssertionError("They were never locked out.")


@pytest.fixture
def connect_to():
    """Opens many connections to each of these servers; they are closed with the test."""
    with ExitStack() as opened:
        yield lambda *servers: [
            opened.enter_context(closing(Client(server)))
            for server in servers
            for _ in range(CONNECTIONS)
        ]


def stale_reads(clients, rounds):
    """Reads that do not show what was acknowledged before, by whatever connection."""
    stale = []

    def read(status, value=None, answered=200):
        # Twice: the first may fill a worker's cache, the second be answered from it.
        for client in clients * 2:
            expect(client.call("GET", path), status, value)
            expect(client.call("POST", LOOKUP, question), answered, value)

    def expect(answer, status, value):
        if answer.status != status or (status == 200 and answer.value != value):
            stale.append(answer)

    for number in range(rounds):
        question = {"user_id": "ada", "message": f"Question {number}"}
        saved = random.choice(clients).call("POST", INTERACTIONS, new(**question))
        assert saved.status == 201
        path = one(saved.value["interaction_id"])
        read(200, saved.value, answered=404)
        completed = random.choice(clients).call("PATCH", path, {"response": "A tree."})
        assert completed.status == 200
        read(200, completed.value)
        assert random.choice(clients).call("DELETE", path).status == 204
        read(404, answered=404)
    return stale


def use(client, stop):
    """Calls of every kind until told to stop; gives the statuses of the answers."""
    statuses = []

    def call(*request):
        answer = client.call(*request)
        statuses.append(answer.status)
        return answer.value

    while not stop.is_set():
        path = one(call("POST", INTERACTIONS, new(user_id="bob"))["interaction_id"])
        call("PATCH", path, {"response": "x" * 1000})
        call("GET", path)
        batch = [new(user_id="bob") for _ in range(20)]
        results = call("POST", BATCH, {"interactions": batch})["results"]
        call("GET", of_user("bob"))
        call("DELETE", one(results[0]["interaction_id"]))
        call("DELETE", path)
    return statuses


@contextmanager
def load(clients):
    """Use the servers in threads meanwhile; gives the statuses once it has ended."""
    stop, statuses = threading.Event(), []
    with ThreadPoolExecutor(len(clients)) as threads:
        running = [threads.submit(use, client, stop) for client in clients]
        try:
            yield statuses
        finally:
            stop.set()
        for user in running:
            statuses += user.result()


def test_two_servers_with_two_workers_each_never_read_stale_nor_fail(start, connect_to):
    clients = connect_to(start(WORKERS="2"), start(WORKERS="2"))
    assert stale_reads(clients, rounds=3) == []
    users = clients[:: len(clients) // LOADERS]
    others = [client for client in clients if client not in users]
    with load(users) as statuses:
        assert stale_reads(others, rounds=2) == []
    assert set(statuses) == {200, 201, 204}


@pytest.mark.exhaustive  # it tests the test above
def test_a_cache_that_does_not_look_for_other_writers_would_be_seen(start, connect_to):
    # The control: shows that the reads above reach several workers, and their caches.
    server = start(without="data_version", WORKERS="2")
    # More than once, as one worker may be up before the other.
    assert any(stale_reads(connect_to(server), rounds=2) for _ in range(10))
