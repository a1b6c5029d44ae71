"""kill -9 of the whole server in the middle of writes: what was acknowledged is there."""

import itertools
import json
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from uuid import uuid4

import pytest

from tests import switches
from tests.chat.calls import BATCH, INTERACTIONS, new
from tests.servers import listens, wait_for
from tests.system.reliability.servers import DATABASE, Client, integrity, messages_by_id

ROUNDS = switches.number("KILL_ROUNDS")
CLIENTS = 12
"""So many that writes of several share a commit: three in four of single ones have no key."""

BATCH_SIZE = 20


class Writer:
    """A client that saves single interactions and batches until the server is gone."""

    def __init__(self, server, user_id):
        self._client = Client(server)
        self.user_id = user_id
        self.acknowledged = []
        self.unanswered = None

    def write_until_killed(self):
        for number in itertools.count():
            self.unanswered = self._batch() if number % 5 == 4 else self._single(number)
            try:
                self.acknowledged += send(self._client, self.unanswered)
            except (OSError, HTTPException):
                self._client.close()
                return self

    def _single(self, number):
        if number % 4:  # told apart by its id, so a repeat is known
            return INTERACTIONS, self._new(interaction_id=str(uuid4())), {}
        return INTERACTIONS, self._new(), {"Idempotency-Key": str(uuid4())}

    def _batch(self):
        items = [self._new(interaction_id=str(uuid4())) for _ in range(BATCH_SIZE)]
        return BATCH, {"interactions": items}, {}

    def _new(self, **fields):
        return new(user_id=self.user_id, message=str(uuid4()), response="x" * 500, **fields)


def send(client, request):
    """What the server says it has saved; of a batch it tells the ids only."""
    path, body, headers = request
    answer = client.call("POST", path, body, **headers)
    if path == BATCH:
        assert answer.status == 200, answer
        assert len({result["status"] for result in answer.value["results"]}) == 1, answer
        return body["interactions"]
    assert answer.status in (200, 201), answer  # 200: a repeat without a key
    return [answer.value]


def wait_for_acknowledgements(writers, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(writer.acknowledged for writer in writers):
        time.sleep(0.01)


def load_and_kill(server):
    """Kill the server at a random moment under load; gives its clients."""
    writers = [Writer(server, str(uuid4())) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(writer.write_until_killed) for writer in writers]
        wait_for_acknowledgements(writers, seconds=300)
        time.sleep(random.uniform(0, 0.7))
        server.kill()
    return [writer.result() for writer in running]


def lost(acknowledged, stored):
    """What was acknowledged and is not stored as it was."""
    by_id = {record["interaction_id"]: record for record in stored}
    return [
        record
        for record in acknowledged
        if not record.items() <= by_id.get(record["interaction_id"], {}).items()
    ]


def messages(records):
    return sorted(record["message"] for record in records)


def check(client, writer):
    """Nothing is lost; what was cut off is repeated, as a client would, and given back."""
    assert lost(writer.acknowledged, client.everything_of(writer.user_id)) == []
    # It was saved whole or not at all, and the repeat does not save it twice.
    repeated = send(client, writer.unanswered)
    stored = client.everything_of(writer.user_id)
    assert messages(stored) == messages(writer.acknowledged + repeated)
    return repeated


def test_what_was_acknowledged_survives_kill_9(tmp_path, start):
    acknowledged = []
    server = start()
    for _ in range(ROUNDS):
        writers = load_and_kill(server)
        server = start()
        with closing(Client(server)) as client:
            for writer in writers:
                acknowledged += writer.acknowledged + check(client, writer)
    server.kill()
    database = tmp_path / DATABASE
    assert integrity(database) == "ok"
    stored = messages_by_id(database)
    assert [
        one for one in acknowledged if stored.get(one["interaction_id"]) != one["message"]
    ] == []
    print(f"{ROUNDS} kills; {len(acknowledged):,} interactions acknowledged, none lost.")


def workers(server):
    """The processes below the one that was started."""
    pid = server._process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_killed_worker_is_replaced_and_loses_nothing(tmp_path, start):
    server = start(WORKERS="2", LOG_FORMAT="json")
    writers = [Writer(server, str(uuid4())) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(writer.write_until_killed) for writer in writers]
        wait_for_acknowledgements(writers, seconds=300)
        before = workers(server)
        os.kill(int(before[0]), signal.SIGKILL)
        while before[0] in workers(server) or len(workers(server)) < 2:
            assert server.is_running(), "without a supervisor, nobody serves"
            time.sleep(0.01)
        os.kill(int(before[1]), signal.SIGKILL)  # the others are cut off, too
        acknowledged = [record for each in running for record in each.result().acknowledged]
    # A new worker answers as soon as it has started.
    server.wait_until_it_answers()
    key = {"Authorization": f"Api-Key {server.key}"}
    assert server.request("GET", "/metrics", headers=key)[0] == 200
    with closing(Client(server)) as client:
        assert client.call("POST", INTERACTIONS, new()).status == 201
        for writer in writers:
            assert lost(writer.acknowledged, client.everything_of(writer.user_id)) == []
    assert len(acknowledged) > CLIENTS
    assert integrity(tmp_path / DATABASE) == "ok"
    found = [line for line in server.output.splitlines() if "Unexpected exit" in line]
    assert {json.loads(line)["logger"] for line in found} == {"_granian"}


@pytest.mark.exhaustive  # it tests the test above
def test_a_server_that_answers_before_it_has_saved_is_found_out(start):
    # The control: shows that the checks above see a loss.
    writers = load_and_kill(start(without="saving_first"))
    with closing(Client(start())) as client:
        stored = {writer: client.everything_of(writer.user_id) for writer in writers}
    assert any(lost(writer.acknowledged, stored[writer]) for writer in writers)


def test_workers_end_when_their_main_process_was_killed(start):
    server = start(WORKERS="2")
    os.kill(server._process.pid, signal.SIGKILL)
    wait_for(lambda: not listens(server.port), "the end of the workers")
