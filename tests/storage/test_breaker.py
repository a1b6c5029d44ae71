"""The circuit breaker: after three failures nothing is asked, but for one probe at a time."""

import pytest

from storage.cache import breaker
from storage.cache.breaker import FAILURES, PAUSE, CircuitBreaker

LONGEST = 10.0


@pytest.fixture
def clock(monkeypatch):
    """The time, which passes when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(breaker.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def opened(clock):
    found = CircuitBreaker(LONGEST)
    for _ in range(FAILURES):
        assert found.admits()
        found.failed()
    return found


def test_fewer_failures_or_a_success_between_change_nothing(clock):
    found = CircuitBreaker(LONGEST)
    for _ in range(10):
        for _ in range(FAILURES - 1):
            found.failed()
        assert found.admits()
        found.succeeded()


def test_after_the_last_failure_nothing_is_asked_for_a_while(opened, clock):
    assert not opened.admits()
    clock[0] += PAUSE - 0.01
    assert not opened.admits()


def test_there_is_one_probe_however_long_it_takes(opened, clock):
    clock[0] += PAUSE
    assert opened.admits()
    for _ in range(9):  # a probe to a server that hangs ends after its own timeouts
        clock[0] += 1.0
        assert not opened.admits()


def test_a_probe_that_never_tells_is_given_up(opened, clock):
    clock[0] += PAUSE
    assert opened.admits()
    clock[0] += LONGEST
    assert opened.admits()


def test_a_probe_that_fails_starts_another_pause(opened, clock):
    clock[0] += PAUSE
    assert opened.admits()
    clock[0] += 5.0
    opened.failed()
    assert not opened.admits()
    clock[0] += PAUSE
    assert opened.admits()


def test_a_probe_that_succeeds_lets_all_through(opened, clock):
    clock[0] += PAUSE
    assert opened.admits()
    opened.succeeded()
    assert all(opened.admits() for _ in range(5))
