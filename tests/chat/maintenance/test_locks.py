"""Locks: one owner at a time, on both backends, whoever comes at the same moment."""

import math
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache.backends.dummy import DummyCache
from django.db import connection

from storage.dynamodb import locks as cloud_locks
from storage.exceptions import StorageUnavailable
from storage.models import Lock
from tests import clouds
from tests.chat import fork_server
from tests.chat.maintenance.fake_maintenance import copy_database
from tests.chat.processes import environment

pytestmark = pytest.mark.every_backend

ONLY_THERE = "about the table of locks in the SQL database"
THREADS = 8
NAME = "lifecycle"


def at_once(calls):
    """Run functions in threads that begin at the same moment; what they gave."""
    barrier = threading.Barrier(len(calls))

    def begin(call):
        barrier.wait()
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(begin, calls))


def take(storage, owner, seconds=60.0, name=NAME):
    return storage.database.acquire_lock(name, owner, seconds)


def test_one_owner_has_it_until_it_is_given_back(storage):
    assert take(storage, "a")
    assert not take(storage, "b")
    storage.database.release_lock(NAME, "b")  # not b's to give
    assert not take(storage, "b")
    storage.database.release_lock(NAME, "a")
    assert take(storage, "b")


def test_giving_back_what_nobody_has_is_no_error(storage):
    storage.database.release_lock(NAME, "a")
    storage.database.release_lock(NAME, "a")


def test_the_owner_can_keep_it(storage, held_clock):
    assert take(storage, "a", 0.3)
    assert take(storage, "a", 60)
    held_clock.passes(0.4)
    assert not take(storage, "b")


def test_it_ends_by_itself(storage, held_clock):
    assert take(storage, "a", 2)
    held_clock.passes(1.9)
    assert not take(storage, "b")
    held_clock.passes(0.2)
    assert take(storage, "b")
    assert not take(storage, "a")


@pytest.mark.parametrize("years", [0.25, 1, 56], ids=["91 days", "a year", "since 1970"])
def test_one_that_ends_later_than_a_lock_can_is_none(storage, held_clock, years):
    """Its owner was killed while the clock was ahead; or the clock is behind now."""
    now = held_clock.wall
    held_clock.wall += years * 365 * 86_400
    assert take(storage, "dead", 60)
    held_clock.wall = now
    assert storage.database.lock_owner(NAME, 60) is None
    assert take(storage, "b", 60)
    assert storage.database.lock_owner(NAME, 60) == "b"
    assert not take(storage, "c", 60)


def test_clocks_of_two_machines_may_differ_by_as_long_as_a_lock_lasts(storage, held_clock):
    held_clock.wall += 59
    assert take(storage, "ahead", 60)
    held_clock.wall -= 59
    assert storage.database.lock_owner(NAME, 60) == "ahead"
    assert not take(storage, "b", 60)
    held_clock.passes(119.1)
    assert take(storage, "b", 60)


def test_one_without_an_end_stays_whatever_the_clock_says(storage, held_clock):
    assert take(storage, "a", math.inf)
    for years in (-57, 0, 300):
        held_clock.wall += years * 365 * 86_400
        assert storage.database.lock_owner(NAME, math.inf) == "a"
        assert not take(storage, "b", math.inf)
        assert take(storage, "a", math.inf)
        held_clock.wall -= years * 365 * 86_400


def test_looking_who_has_it_changes_nothing(storage):
    assert storage.database.lock_owner(NAME, 60) is None
    assert take(storage, "a")
    assert storage.database.lock_owner(NAME, 60) == "a"
    storage.database.release_lock(NAME, "a")
    assert storage.database.lock_owner(NAME, 60) is None


def test_each_name_is_a_lock_of_its_own(storage):
    assert take(storage, "a", name="one")
    assert take(storage, "b", name="two")
    assert not take(storage, "b", name="one")


def test_it_is_no_interaction(storage, make_interaction):
    assert take(storage, "a")
    far = datetime.now(UTC) + timedelta(days=1)
    assert storage.oldest(far, 10) == []
    assert storage.database.count_oldest(far, 10) == 0
    assert storage.get_interaction_sync(cloud_locks.PREFIX + NAME) is None
    assert not storage.delete_interaction_sync(cloud_locks.PREFIX + NAME)
    storage.save_interaction_sync(make_interaction(interaction_id=NAME))
    assert not take(storage, "b")


@pytest.mark.parametrize("state", ["free", "ended"])
def test_of_eight_that_come_at_once_one_gets_it(storage, held_clock, state):
    for attempt in range(10):
        name = f"{state}-{attempt}"
        if state == "ended":
            assert take(storage, "dead", 60, name)
            held_clock.passes(61)
        calls = [
            lambda owner=f"owner-{n}", name=name: take(storage, owner, 60, name)
            for n in range(THREADS)
        ]
        assert sum(at_once(calls)) == 1


def test_never_two_at_work(storage):
    at_work, most, turns = [], [], [0] * THREADS

    def work(number):
        while len(most) < 50 or sum(map(bool, turns)) < 2:  # until it has changed hands
            if take(storage, f"owner-{number}"):
                at_work.append(number)
                time.sleep(0.002)
                most.append(len(at_work))
                at_work.remove(number)
                turns[number] += 1
                storage.database.release_lock(NAME, f"owner-{number}")
            time.sleep(0.001)

    at_once([lambda number=number: work(number) for number in range(THREADS)])
    assert max(most) == 1


PROGRAM = """
import sys, time, django
import config
django.setup()
from pathlib import Path
from storage import get_storage
folder, owner = Path(sys.argv[1]), sys.argv[2]
storage = get_storage()
(folder / f"ready-{owner}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
turns = 0
while turns < 25 or len(list(folder.glob("turn-*"))) < 2:  # until it has changed hands
    if storage.database.acquire_lock("lifecycle", owner, 60):
        (folder / "at-work").mkdir()  # FileExistsError: another one is at work
        time.sleep(0.002)
        (folder / "at-work").rmdir()
        turns += 1
        (folder / f"turn-{owner}").touch()
        storage.database.release_lock("lifecycle", owner)
    time.sleep(0.001)
print(turns)
"""


@pytest.mark.on_sqlite("whose lock must keep processes apart")
def test_never_two_processes_at_work(transactional_db, tmp_path):
    copy_database(tmp_path)
    processes = [
        fork_server.Popen(
            ["-c", PROGRAM, tmp_path, f"owner-{number}"],
            environment(tmp_path, DJANGO_SETTINGS_MODULE="config.settings"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preloaded=True,
        )
        for number in range(4)
    ]
    try:
        while len(list(tmp_path.glob("ready-*"))) < len(processes):
            time.sleep(0.01)
        (tmp_path / "go").touch()
        outcomes = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [errors for _, errors in outcomes] == [""] * len(processes)
    assert all(int(output) >= 25 for output, _ in outcomes)


@pytest.mark.on_sqlite(ONLY_THERE)
def test_sqlite_keeps_the_end_in_utc(storage):
    before = datetime.now(UTC)
    assert take(storage, "a", 60)
    lock = Lock.objects.get()
    assert (lock.name, lock.owner) == (NAME, "a")
    assert before <= lock.until - timedelta(seconds=60) <= datetime.now(UTC)
    storage.database.release_lock(NAME, "a")
    assert not Lock.objects.exists()


class Cloud:
    """The requests of DynamoDB's locks, on a table of the test server."""

    def __init__(self, client):
        self.client = client

    def item(self):
        key = {"interaction_id": {"S": cloud_locks.PREFIX + NAME}}
        return self.client.call("GetItem", Key=key, ConsistentRead=True).get("Item")

    def after_lost_answer(self, operation):
        """The next such call takes effect, but its answer is lost."""
        call = self.client.call

        def lose(name, **parameters):
            answer = call(name, **parameters)
            if name == operation:
                self.client.call = call
                raise StorageUnavailable("The answer was lost.")
            return answer

        self.client.call = lose


@pytest.fixture
def cloud(dynamodb_model):
    return Cloud(clouds.make_storage(dynamodb_model, DummyCache("", {})).database.client)


@pytest.mark.on_sqlite("it has its own DynamoDB")
def test_dynamodb_removes_what_a_dead_run_has_left_a_day_later(cloud):
    before = time.time()
    assert cloud_locks.acquire(cloud.client, NAME, "a", 60)
    item = cloud.item()
    assert before + 60 <= float(item["until"]["N"]) <= time.time() + 60.001
    left = float(item["expires_at"]["N"]) - float(item["until"]["N"])
    assert 86_400 <= left <= 86_402
    cloud_locks.release(cloud.client, NAME, "a")
    assert cloud.item() is None


@pytest.mark.on_sqlite("it has its own DynamoDB")
def test_a_lost_answer_is_made_up_for_by_asking_again(cloud):
    cloud.after_lost_answer("PutItem")
    with pytest.raises(StorageUnavailable):
        cloud_locks.acquire(cloud.client, NAME, "a", 60)
    assert cloud_locks.acquire(cloud.client, NAME, "a", 60), "it is one's own already"
    assert not cloud_locks.acquire(cloud.client, NAME, "b", 60)
    cloud.after_lost_answer("DeleteItem")
    with pytest.raises(StorageUnavailable):
        cloud_locks.release(cloud.client, NAME, "a")
    cloud_locks.release(cloud.client, NAME, "a")
    assert cloud_locks.acquire(cloud.client, NAME, "b", 60)
    cloud_locks.release(cloud.client, NAME, "a")
    assert not cloud_locks.acquire(cloud.client, NAME, "a", 60), "a late repeat takes nothing away"
