"""Runs of maintenance that are killed at each of their steps, with users at work in between.

A step is one call that leaves the process: of a file of the archive, of the database. A kill comes
before a call takes effect, or after it, with the answer lost; `for good` nothing works any more
from then on, as when the process has died, so that not even its lock is given back.
"""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from chat.maintenance import runs, usage
from chat.maintenance.identity import FIRST_USE
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LOCK, Run
from storage.archive.files import Files
from storage.dynamodb.client import Client
from storage.dynamodb.database import DynamoDBDatabase
from storage.exceptions import InteractionArchived, StorageUnavailable
from storage.interface import Storage
from storage.models import Lock, UsageOfModel
from storage.sqlite.database import SqliteDatabase
from tests import switches

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = Policy(NOW, hot_days=30, total_days=90)
AGES = (27, 31, 31, 31, 31, 35, 35)
"""Days since each interaction was created: one is hot still."""

LONG = "An answer at length. " * 10
"""The response of every third. Where INLINE_MAX_BYTES is less, it is in an object."""

BATCH = 3

EVERY_STEP = switches.value("LIFECYCLE_KILLS") == "all"
"""Otherwise some: each kind of kill takes other steps, and those of DynamoDB take longer."""

FILES = (
    "read",
    "write",
    "create_all",
    "delete",
    "delete_all",
    "list",
    "folders",
    "remove_leftovers",
)
LOCAL = (
    "oldest",
    "count_oldest",
    "stubs",
    "move_to_cold",
    "return_from_cold",
    "drop_stubs",
    "remove_expired",
    "remove_expired_stubs",
    "acquire_lock",
    "release_lock",
    "reclaim",
)
"""Each is a transaction of its own, or several that are alike."""

CLOUD = ("request",)


class Killed(BaseException):
    """The process has died here."""


class Steps:
    """Counts the steps of what runs within it, and kills it at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self.watching = False
        monkeypatch.setattr(runs, "KEEPER_SECONDS", 3600)  # its thread would take steps, too
        monkeypatch.setattr(DynamoDBDatabase, "index_lag_seconds", 0)  # that of the tests has none
        for owner, names in ((Files, FILES), (SqliteDatabase, LOCAL), (Client, CLOUD)):
            for name in names:
                monkeypatch.setattr(owner, name, self._watched(getattr(owner, name)))

    def start(
        self,
        kill_at: Any = None,
        *,
        after: bool = False,
        for_good: bool = True,
        error: Any = Killed,
        between: Any = None,
    ) -> None:
        """Count from 0. The step `kill_at` (from 1) raises `error`; `between` runs before each."""
        self.count = 0
        self.kill_at = kill_at
        self.after = after
        self.for_good = for_good
        self.error = error
        self.between = between
        self.watching = True

    def stop(self) -> None:
        """Watch no more. Threads of what was killed may have a last call under way."""
        with self._lock:
            self.watching = False

    def _watched(self, function: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            # A thread of the cache looks when it likes, and is no part of the run.
            if not self.watching or threading.current_thread().name == "cache":
                return function(*args, **kwargs)
            with self._lock:
                if not self.watching:
                    return function(*args, **kwargs)
                self.count += 1
                number = self.count
                if self.between is not None:
                    with self.unwatched():
                        self.between(number)
            is_it = number == self.kill_at
            is_dead = self.kill_at is not None and self.for_good and number > self.kill_at
            if is_dead or (is_it and not self.after):
                raise self.error("killed here")
            answer = function(*args, **kwargs)
            if is_it:
                raise self.error("killed here")
            return answer

        return step

    @contextlib.contextmanager
    def unwatched(self) -> Iterator[Any]:
        """What the users do, and the tests look at."""
        before, self.watching = self.watching, False
        try:
            yield
        finally:
            self.watching = before


class World:
    """A storage with interactions of all ages, its users, and what they were told is saved."""

    def __init__(self, storage: Storage, make_interaction: Any) -> None:
        self.storage = storage
        self._make = make_interaction
        self.expected = {}
        self.deleted = set()
        self.purged_until = datetime.min.replace(tzinfo=UTC)
        for number, age in enumerate(AGES):
            self.create(number, age)

    def create(self, number: int, age: float) -> None:
        created_at = NOW - timedelta(days=age, seconds=number)
        interaction = self._make(
            interaction_id=f"i-{number:02}",
            user_id=("ada", "bob")[number % 2],
            message=f"question {number}",
            response=LONG if number % 3 == 1 else "An answer.",
            created_at=created_at,
            updated_at=created_at,
        )
        self.storage.create_interactions_sync([interaction])
        self.expected[interaction.interaction_id] = interaction

    def work(self, number: int) -> None:
        """What users do before step `number`: completions and deletions of what is old."""
        ids = sorted(self.expected)
        chosen = ids[number * 5 % len(ids)]
        if number % 7 == 3:
            self.delete(chosen)
        elif number % 3 == 1:
            self.complete(chosen, f"answer at {number}")

    def complete(self, interaction_id: str, response: str) -> None:
        with contextlib.suppress(InteractionArchived):
            changed = self.storage.update_interaction_sync(interaction_id, {"response": response})
            if changed is None:
                assert interaction_id not in self.lasting(), f"{interaction_id} was lost"
            else:
                self.expected[interaction_id] = changed

    def complete_all(self, number: int) -> None:
        for interaction_id in sorted(self.expected):
            self.complete(interaction_id, f"answer at {number}")

    def delete(self, interaction_id: str) -> None:
        if len(self.deleted) < 2:
            was_there = self.storage.delete_interaction_sync(interaction_id)
            assert was_there or interaction_id not in self.lasting(), f"{interaction_id} was lost"
            del self.expected[interaction_id]
            self.deleted.add(interaction_id)

    def check(self) -> None:
        """Nothing is lost, nothing wrong, nothing deleted is back."""
        for interaction_id, expected in self.lasting().items():
            found = self.storage.get_interaction_sync(interaction_id)
            assert found is not None, f"{interaction_id} was lost"
            assert found.same_content(expected), interaction_id
            assert (found.created_at, found.updated_at) == (
                expected.created_at,
                expected.updated_at,
            )
        for interaction_id in self.deleted:
            assert self.storage.get_interaction_sync(interaction_id) is None

    def lasting(self) -> dict[str, Any]:
        """What is to be there, whatever has been purged."""
        return {
            interaction_id: each
            for interaction_id, each in self.expected.items()
            if each.created_at > self.purged_until
        }

    def check_settled(self) -> tuple[Any, ...]:
        """After a whole run: each is in one place, and nothing is left of what was cut short."""
        archive = self.storage.archive
        assert archive.marked() == {}
        cold = []
        for day in archive.days():
            for segment in archive.segments(day):
                archive.verify(segment)
                assert archive.orphans(segment) == []
                cold += [row.interaction_id for row in archive.rows(segment)]
        hot = [row.interaction_id for row in self.storage.oldest(NOW + timedelta(days=9), 100)]
        assert sorted(hot + cold) == sorted(self.lasting())
        stubs = self.storage.database.stubs([*self.lasting(), *self.deleted])
        assert sorted(stubs) == sorted(cold)
        self.check_usage()
        return hot, cold

    def check_usage(self) -> None:
        """If the backend counts usage: each interaction was counted once, whatever was killed."""
        if self.storage.database.count_usage(5) is None:
            return
        with Run(self.storage, now=NOW, dry_run=True) as looking:
            found = list(usage.verify(self.storage, looking, usage.Rebuilt()))
        # The stubs of what was purged may stay until DynamoDB's TTL deletes them.
        purged = str(self.purged_until.date())
        assert [line for line in found if line[: len(purged)] > purged] == []
        counted = sum(row.interactions for row in UsageOfModel.objects.all())
        assert counted == len(self.expected) + len(self.deleted)

    def forget_lock(self) -> None:
        """The locks of a run that has died end; here at once."""
        forget_locks(self.storage)


def forget_locks(storage: Storage) -> None:
    """All but those that do not end."""
    for name in (LOCK, FIRST_USE):
        if isinstance(storage.database, SqliteDatabase):
            Lock.objects.filter(name=name).delete()
        else:
            key = {"interaction_id": {"S": f"\x1flock#{name}"}}
            cast(Any, storage.database).client.call("DeleteItem", Key=key)


def stride(storage: Storage, *, local: Any, cloud: Any) -> Any:
    """Steps from one kill to the next."""
    if EVERY_STEP:
        return 1
    return local if isinstance(storage.database, SqliteDatabase) else cloud


def run(storage: Storage, job: Any) -> Any:
    """One run of `job(run)`, from its lock to its end."""
    with Run(storage, now=NOW, batch_size=BATCH) as running:
        return job(running)


UNAVAILABLE = StorageUnavailable
