"""The search index is as it must be, whenever and however its passes are killed."""

import random
import signal
import sqlite3
import time
import types
from contextlib import suppress

import pytest
from django.db import connection

from chat.maintenance import search_index
from chat.maintenance.runs import Run
from storage.exceptions import InteractionArchived
from storage.models import TextChange
from storage.sqlite import text_file, text_index
from storage.sqlite.text_outbox import Outbox
from tests import switches
from tests.chat import processes
from tests.storage.sqlite.searched import catch_up, check, everything, moments, to_archive


class Killed(BaseException):
    """As SIGKILL: nothing of the process is left but what is committed."""


class Steps:
    """Counts the statements on the index and the ends of passes, and kills at one of them."""

    def __init__(self):
        self.count = 0
        self.kill_at = None
        self.kills = 0

    def step(self):
        self.count += 1
        if self.kill_at is not None and self.count >= self.kill_at:
            raise Killed


@pytest.fixture
def steps(monkeypatch):
    steps = Steps()
    done = Outbox.done

    class Watched(sqlite3.Connection):
        def execute(self, sql, *parameters):
            if sql != "ROLLBACK":
                steps.step()
            return super().execute(sql, *parameters)

        def executemany(self, sql, rows):
            steps.step()
            return super().executemany(sql, rows)

    class Sqlite(types.SimpleNamespace):
        """The module, whose connections are watched."""

        def __getattr__(self, name):
            return getattr(sqlite3, name)

    def watched_done(*arguments):
        steps.step()
        done(*arguments)
        steps.step()

    monkeypatch.setattr(text_file, "sqlite3", Sqlite(connect=Watched))
    monkeypatch.setattr(Outbox, "done", watched_done)
    return steps


class Users:
    """What users and maintenance do, at random."""

    def __init__(self, storage, make_interaction, seed):
        self.storage, self._make = storage, make_interaction
        self.chance = random.Random(seed)
        self.number = 0

    def work(self):
        rows = list(everything(self.storage).values())
        hot = [row.interaction_id for row in rows if not self._stub(row)]
        cold = [(row, stub) for row in rows if (stub := self._stub(row))]
        moved = self.storage.get_interaction_sync(self.chance.choice(hot))
        if moved is not None and self.chance.random() < 0.5:
            to_archive(self.storage, [moved])
        for _ in range(3):  # archiving makes passes, and so it comes first
            self.save()
        if cold and self.chance.random() < 0.5:
            row, stub = self.chance.choice(cold)
            self.storage.return_from_cold([row], stub.segment)
        for interaction_id in self.chance.sample(hot, 2):
            changes = {"response": f"w changed{self.chance.randrange(99)}"}
            with suppress(InteractionArchived):
                self.storage.update_interaction_sync(interaction_id, changes)
        self.storage.delete_interaction_sync(self.chance.choice(rows).interaction_id)

    def save(self):
        self.number += 1
        row = self._make(
            interaction_id=f"i{self.number:04}",
            user_id=self.chance.choice(["ada", "bob"]),
            message=f"w wall{self.number}",
            response=self.chance.choice(["", "w wood"]),
            **moments(self.number, days=40),
        )
        self.storage.save_interaction_sync(row)

    def _stub(self, row):
        return self.storage.database.stubs([row.interaction_id]).get(row.interaction_id)


EVERY = switches.value("LIFECYCLE_KILLS") == "all"
STRIDE = 1 if EVERY else 5
LONG_STRIDE = 1 if EVERY else 13  # among two hundred steps
ROUNDS = 6 if EVERY else 2  # of all, and of what is missing


def kill_at_each_step(indexed, make_interaction, steps):
    users = Users(indexed, make_interaction, seed=7)
    for _ in range(20):
        users.save()
    kill_at = 1
    while True:
        users.work()
        steps.count, steps.kill_at = 0, kill_at
        try:
            catch_up(users.storage)
        except Killed:
            steps.kills += 1
        else:
            steps.kill_at = None
            return
        steps.kill_at = None
        check(users.storage)
        kill_at += STRIDE


def test_a_pass_that_is_killed_at_any_step_is_made_good(indexed, make_interaction, steps):
    kill_at_each_step(indexed, make_interaction, steps)


def test_taking_a_user_out_that_is_killed_at_any_step_is_made_good(
    indexed, make_interaction, steps
):
    users = Users(indexed, make_interaction, seed=7)
    kill_at, is_killed = 1, True
    while is_killed:
        for _ in range(6):
            users.save()
        catch_up(indexed)
        rows = [row for row in everything(indexed).values() if row.user_id == "ada"]
        steps.count, steps.kill_at = 0, kill_at
        try:
            indexed.database.before_erasing("ada", lambda: None)
        except Killed:
            steps.kills += 1
        else:
            is_killed = False
        steps.kill_at = None
        indexed.erase_hot(rows, "ada")
        indexed.forget_user("ada")
        assert not TextChange.objects.exists()
        check(indexed)
        kill_at += LONG_STRIDE
    assert steps.kills > 10


def test_without_its_order_something_is_lost(indexed, make_interaction, steps, monkeypatch):
    """A mutant: the outbox is emptied before the index is committed."""
    oldest = Outbox.oldest

    def oldest_and_done(outbox, limit):
        changes = oldest(outbox, limit)
        if not outbox.statements.in_transaction():  # where a search looks
            TextChange.objects.filter(id__in=[number for number, _ in changes]).delete()
        return changes

    monkeypatch.setattr(Outbox, "oldest", oldest_and_done)
    with pytest.raises(AssertionError):
        kill_at_each_step(indexed, make_interaction, steps)


def test_processes_that_are_killed_and_one_that_saves(indexed, make_interaction, tmp_path):
    users = Users(indexed, make_interaction, seed=1)
    for _ in range(200):
        users.save()
    database = f"sqlite:///{connection.settings_dict['NAME']}"
    for number in range(ROUNDS):
        words = ["rebuild_search", *(["--missing"] if number % 2 else [])]
        both = [
            processes.fork_server.Popen(
                [processes.MANAGE, *words], processes.environment(tmp_path, DATABASE_URL=database)
            )
            for _ in range(2)
        ]
        end = time.monotonic() + users.chance.uniform(0.3, 1.0)
        while time.monotonic() < end:
            users.work()
            with suppress(*text_index.Failed):
                indexed.database.index_texts(0)
        for process in both:
            process.send_signal(signal.SIGKILL)
            process.wait()
    with Run(indexed, lock=False) as run:  # for what the killed ones had not read of the archive
        search_index.rebuild(indexed, run, search_index.Rebuilt(), anew=False)
    check(indexed)
