"""A server that does not answer is probed by one thread, until it answers."""

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from storage.cache import breaker, guarded
from storage.cache.breaker import FAILURES, PAUSE
from storage.cache.guarded import Guard


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(breaker.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def guard():
    return Guard(lambda: None)


def away():
    raise RedisTimeoutError


def open_again(guard):
    for _ in range(FAILURES):
        guard.ask(away, None)
    assert guard.is_open


def test_a_thread_that_is_done_before_its_start_is_noted_does_not_count_as_probing(
    guard, clock, monkeypatch
):
    started = []

    def run_to_its_end(do, pause):
        started.append(do)
        clock[0] += PAUSE
        assert not do()
        return True

    monkeypatch.setattr(guarded.background, "repeat", run_to_its_end)
    for number in range(2):
        for _ in range(FAILURES):
            guard.ask(away, None)
        assert len(started) == number + 1
        assert not guard.is_open


def test_whoever_comes_while_it_closes_starts_no_other_probe(guard, clock, monkeypatch):
    started = []
    monkeypatch.setattr(guarded.background, "repeat", lambda do, pause: not started.append(do))
    open_again(guard)
    succeeded = guard._breaker.succeeded

    def come_meanwhile():
        guard.ask(away, None)
        succeeded()

    monkeypatch.setattr(guard._breaker, "succeeded", come_meanwhile)
    clock[0] += PAUSE
    assert not started[0]()
    assert len(started) == 1
