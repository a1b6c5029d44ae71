"""A run: alone at work as long as it is, within its time, and never in doubt whether it is."""

import threading
import time
from datetime import UTC, datetime

import pytest

from chat.maintenance import runs
from chat.maintenance.runs import LockHeld, LockLost, OutOfTime, Run
from storage.exceptions import StorageError, StorageUnavailable
from tests.clocks import Clock


@pytest.fixture(autouse=True)
def _any_archive(monkeypatch):
    """Which archive it is, is another module's tests."""
    for name in ("confirm_archive", "check_archive"):
        monkeypatch.setattr(runs, name, lambda storage: None)


class Locks:
    """The locks of a storage, by that clock. `takes` is how often one was taken or kept."""

    def __init__(self, clock):
        self.clock = clock
        self.held = {}
        self.takes = 0
        self.slowness = 0.0
        self.away = False

    @property
    def database(self):
        return self

    def acquire_lock(self, name, owner, seconds):
        self._answer()
        holder, until = self.held.get(name, (owner, 0.0))
        if holder != owner and until > self.clock.wall:
            return False
        self.takes += 1
        self.held[name] = (owner, self.clock.wall + seconds)
        return True

    def lock_owner(self, name, seconds):
        self._answer()
        owner, until = self.held.get(name, (None, 0.0))
        return owner if until > self.clock.wall else None

    def release_lock(self, name, owner):
        self._answer()
        if self.held.get(name, ("", 0))[0] == owner:
            del self.held[name]

    def _answer(self):
        if self.away:
            raise StorageUnavailable("The database did not answer.")
        self.clock.passes(self.slowness)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(runs, "time", clock)
    return clock


@pytest.fixture
def locks(clock):
    return Locks(clock)


# The lock


@pytest.mark.every_backend
def test_two_runs_never_overlap(storage):
    with Run(storage) as first:
        with pytest.raises(LockHeld, match="Another maintenance run is at work"), Run(storage):
            pytest.fail("it has begun")
        first.step()
    with Run(storage) as second:
        second.step()


@pytest.mark.every_backend
def test_a_run_that_has_died_keeps_others_away_for_a_time(storage, held_clock):
    dead = Run(storage)
    dead.__enter__()
    dead._has_ended.set()
    held_clock.passes(59)
    with pytest.raises(LockHeld):
        Run(storage).__enter__()
    held_clock.passes(1.1)
    with Run(storage) as run:
        run.step()


@pytest.mark.every_backend
def test_a_run_that_died_while_the_clock_was_ahead_keeps_nobody_away(storage, held_clock):
    now = held_clock.wall
    held_clock.wall += 91 * 86_400
    dead = Run(storage)
    dead.__enter__()
    dead._has_ended.set()
    held_clock.wall = now
    with Run(storage) as run:
        run.step()


def test_it_says_for_how_long_a_dead_run_keeps_others_away(locks):
    with Run(locks), pytest.raises(LockHeld, match="within 120 seconds"), Run(locks):
        pytest.fail("it has begun")


@pytest.mark.every_backend
def test_a_run_whose_lock_another_has_taken_stops_and_leaves_it_alone(storage, held_clock):
    with Run(storage) as run:
        held_clock.passes(60.1)
        assert storage.database.acquire_lock(runs.LOCK, "another", 60)
        with pytest.raises(LockLost, match="run it again"):
            run.step()
    assert not storage.database.acquire_lock(runs.LOCK, "a third", 60)


@pytest.mark.every_backend
def test_the_lock_is_kept_during_a_step_however_long(storage, held_clock, monkeypatch):
    monkeypatch.setattr(runs, "KEEPER_SECONDS", 0.01)
    with Run(storage) as run:
        for _ in range(5):
            held_clock.passes(25)
            while run._age() > 20:  # until the thread has renewed it
                time.sleep(0.01)
            assert not storage.database.acquire_lock(runs.LOCK, "another", 60)
        run.step()
    assert storage.database.acquire_lock(runs.LOCK, "another", 60), "nobody keeps it after the run"


@pytest.mark.every_backend
def test_a_failed_run_gives_the_lock_back(storage):
    with pytest.raises(ZeroDivisionError), Run(storage):
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), Run(storage):
        raise KeyboardInterrupt
    with Run(storage):
        pass


def test_the_lock_is_kept_for_as_long_as_the_run_goes_on(locks, clock):
    with Run(locks) as run:
        for _ in range(100):
            clock.passes(15)
            run.step()
            assert not locks.database.acquire_lock(runs.LOCK, "another", 60)
    assert locks.takes == 51, "not at each step"
    assert not locks.held


def test_one_that_another_has_taken_is_lost(locks, clock):
    with Run(locks) as run:
        clock.passes(25)
        locks.held[runs.LOCK] = ("another", clock.wall + 60)
        with pytest.raises(LockLost):
            run.step()
    assert locks.held[runs.LOCK][0] == "another"


def test_one_that_has_ended_is_lost_although_nobody_has_it_now(locks, clock):
    with Run(locks) as run:
        clock.passes(61)  # time enough for another to come and go
        with pytest.raises(LockLost):
            run.step()
    assert not locks.held


def test_one_that_ends_while_it_is_renewed_is_lost(locks, clock):
    with Run(locks) as run:
        clock.passes(50)
        locks.slowness = 11
        with pytest.raises(LockLost):
            run.step()


def test_a_renewal_counts_from_when_it_was_asked_for(locks, clock):
    with Run(locks) as run:
        clock.passes(25)
        locks.slowness = 30
        run.step()
        locks.slowness = 0
        clock.passes(31)  # 61 since it was asked for
        with pytest.raises(LockLost):
            run.step()


def test_a_machine_that_slept_has_lost_it(locks, clock):
    with Run(locks) as run:
        clock.wall += 3600
        with pytest.raises(LockLost):
            run.step()


def test_a_clock_set_back_neither_loses_it_nor_keeps_it_from_being_renewed(locks, clock):
    with Run(locks) as run:
        clock.wall -= 3600
        run.step()
        assert locks.takes == 1
        clock.passes(21)
        run.step()
        assert locks.takes == 2


def test_a_renewal_that_gets_no_answer_fails_the_run(locks, clock):
    with Run(locks) as run:
        clock.passes(25)
        locks.away = True
        with pytest.raises(StorageUnavailable):
            run.step()


def test_a_lock_that_cannot_be_given_back_fails_nothing(locks, caplog):
    with Run(locks) as run:
        run.step()
        locks.away = True
    assert "keeps others away for up to 60 seconds" in caplog.text


def test_nor_does_it_hide_why_the_run_failed(locks):
    run = Run(locks)

    def fail():
        with run:
            locks.away = True
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()


def test_without_a_thread_to_be_had_it_does_not_begin(locks, monkeypatch):
    def none_left(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(StorageUnavailable), Run(locks):
        pytest.fail("it has begun")
    assert not locks.held


def test_a_dry_run_takes_none(locks):
    with Run(locks, dry_run=True) as run:
        run.step()
        assert not locks.held


def test_a_dry_run_is_refused_where_a_run_would_be(locks):
    with Run(locks), pytest.raises(LockHeld), Run(locks, dry_run=True):
        pytest.fail("it has begun")
    with Run(locks, dry_run=True, lock=False) as dry:
        dry.step()


@pytest.mark.parametrize("dry_run", [False, True])
def test_it_waits_for_another_one_as_long_as_it_may(locks, clock, dry_run):
    locks.held[runs.LOCK] = ("another", clock.wall + 30)
    with pytest.raises(LockHeld), Run(locks, wait=29, dry_run=dry_run):
        pytest.fail("it has begun")
    locks.held[runs.LOCK] = ("another", clock.wall + 30)
    with Run(locks, wait=31, dry_run=dry_run) as run:
        run.step()


def test_waiting_is_part_of_its_time(locks, clock):
    locks.held[runs.LOCK] = ("another", clock.wall + 30)
    before = clock.steady
    with pytest.raises(OutOfTime), Run(locks, wait=60, max_seconds=5):
        pytest.fail("it has begun")
    assert clock.steady - before < 6


def test_who_is_told_to_stop_waits_no_longer(locks, clock, monkeypatch):
    locks.held[runs.LOCK] = ("another", clock.wall + 30)
    run = Run(locks, wait=60)
    monkeypatch.setattr(clock, "sleep", lambda seconds: run.stop())
    with pytest.raises(OutOfTime), run:
        pytest.fail("it has begun")


def test_without_a_lock_runs_may_overlap(locks):
    with Run(locks), Run(locks, lock=False) as other:
        other.step()


# Its time


def test_its_bound_is_looked_at_between_steps(locks, clock):
    with Run(locks, max_seconds=10) as run:
        clock.passes(9.9)
        run.step()
        clock.passes(0.2)
        with pytest.raises(OutOfTime):
            run.step()


def test_no_time_at_all_ends_at_the_first_step(locks):
    with pytest.raises(OutOfTime), Run(locks, max_seconds=0) as run:
        run.step()


def test_without_a_bound_it_goes_on(locks, clock):
    with Run(locks) as run:
        for _ in range(1000):
            clock.passes(30)
            run.step()


def test_a_clock_set_forward_does_not_use_its_time_up(locks, clock):
    run = Run(locks, max_seconds=10, lock=False)
    clock.wall += 3600
    run.step()


def test_who_is_told_to_stop_does_so_at_the_next_step(locks):
    with Run(locks) as run:
        run.step()
        run.stop()
        with pytest.raises(OutOfTime):
            run.step()


# What it knows


def test_its_moment_is_now_unless_another_is_given(locks):
    before = datetime.now(UTC)
    assert before <= Run(locks).now <= datetime.now(UTC)
    moment = datetime(2026, 12, 1, tzinfo=UTC)
    assert Run(locks, now=moment).now == moment


def test_it_tells_how_much_is_done_also_at_the_step_that_ends_it(locks):
    told = []
    with Run(locks, report=told.append) as run:
        run.step(3)
        run.step(5)
        run.stop()
        with pytest.raises(OutOfTime):
            run.step(7)
    assert told == [3, 5, 7]


def test_all_that_ends_it_are_errors_of_the_storage():
    assert all(issubclass(error, StorageError) for error in (LockHeld, LockLost, OutOfTime))
