"""Leases: fewer questions, never more than the quota, and nothing that is kept unused."""

import pytest

from storage.cache.guarded import Guards
from storage.rate_limits import leases, local, redis_counts, windows
from storage.rate_limits.leases import LEASE_SECONDS, LeasedWindows
from storage.rate_limits.local import LocalCounts
from storage.rate_limits.redis_counts import RedisCounts
from storage.rate_limits.table import Table
from storage.rate_limits.windows import RESERVE, Request, State
from tests import clouds
from tests.clocks import Clock

WHO = b"0123456789abcdef"
QUOTA = RESERVE + 1000
LARGEST = QUOTA // leases.LARGEST_SHARE


@pytest.fixture
def clock(monkeypatch):
    """The time of leases and of the counts of this machine, at the start of a window."""
    found = Clock()
    found.steady = windows.WINDOW_SECONDS * 1000.0
    for module in (leases, local):
        monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def returning(monkeypatch):
    """What was started beside the requests, to be called by the test."""
    found = []
    monkeypatch.setattr(leases.background, "repeat", lambda do, pause: found.append(do) or True)
    return found


class Asked:
    """Counts how often counts are asked, and can be away."""

    def __init__(self, counts):
        self.counts = counts
        self.times = 0
        self.is_away = False

    def take(self, request):
        self.times += 1
        return None if self.is_away else self.counts.take(request)


@pytest.fixture(params=["machine", "redis"])
def counts(request, tmp_path, clock, monkeypatch):
    if request.param == "machine":
        return Asked(LocalCounts(Table(tmp_path / "calls")))
    server = request.getfixturevalue("valkey_server")
    cache = clouds.make_cache(f"redis://127.0.0.1:{server.port}/3", **clouds.PATIENT)
    cache.clear()
    # Its clock is the server's: no window may end meanwhile.
    for module in (windows, leases, redis_counts):
        monkeypatch.setattr(module, "WINDOW_MS", 10**9)
    return Asked(RedisCounts(cache, Guards(cache)))


@pytest.fixture
def make(counts, tmp_path):
    """Makes what a process has."""
    return lambda: LeasedWindows(counts, LocalCounts(Table(tmp_path / "otherwise")))


def taken(process, times, quota=QUOTA):
    return sum(process.take(WHO, quota).allowed for _ in range(times))


def state_of(counts):
    return counts.take(Request(WHO, QUOTA, 0)).state.current


def test_a_busy_client_asks_for_a_fraction_of_its_calls(make, counts, clock, returning):
    process = make()
    for _ in range(100):
        assert process.take(WHO, QUOTA).allowed
        clock.passes(0.001)
    assert counts.times < 15


def test_a_slow_client_leases_nothing(make, counts, clock, returning):
    process = make()
    for number in range(5):
        assert process.take(WHO, QUOTA).allowed
        clock.passes(5)
        assert state_of(counts) == number + 1
    assert returning == []


def test_near_the_end_of_the_quota_there_are_no_leases(make, counts, clock, returning):
    process = make()
    assert taken(process, 100, quota=100) == 100
    assert counts.times == 100
    assert taken(process, 5, quota=100) == 0
    assert counts.times == 101  # a refusal is remembered


def test_a_refusal_is_not_remembered_for_long(make, counts, clock, returning):
    process = make()
    taken(process, 11, quota=10)
    counts.take(Request(WHO, 10, 0, 1, counts.take(Request(WHO, 10, 0)).state))
    assert taken(process, 1, quota=10) == 0
    clock.passes(LEASE_SECONDS)
    assert taken(process, 2, quota=10) == 1


def leasing(make, clock):
    """A process with a lease of LARGEST - 1 calls."""
    process = make()
    while not any(client.leased == LARGEST - 1 for client in process._clients.values()):
        assert process.take(WHO, QUOTA).allowed
        clock.passes(0.001)
    return process


def test_what_was_leased_and_not_used_is_given_back(make, counts, clock, returning):
    process = leasing(make, clock)
    before = state_of(counts)
    (give_back,) = returning
    assert give_back() is True  # it can still be used
    assert state_of(counts) == before
    clock.passes(LEASE_SECONDS)
    assert give_back() is False
    assert state_of(counts) == before - (LARGEST - 1)
    assert taken(process, 1) == 1


def test_it_is_given_back_with_the_next_question_too(make, counts, clock, returning):
    process = leasing(make, clock)
    before = state_of(counts)
    clock.passes(LEASE_SECONDS)
    assert process.take(WHO, 100).allowed is False  # another quota, so that it is only one call
    assert state_of(counts) == before - (LARGEST - 1)


def test_a_call_that_is_taken_back_can_be_made_by_another(make, counts, clock, returning):
    process = make()
    for _ in range(3):
        assert process.take(WHO, 1).allowed
        process.give_back(WHO)
    assert counts.times == 1
    assert process.take(WHO, 1).allowed
    assert not process.take(WHO, 1).allowed


def test_one_that_was_taken_back_after_a_refusal_can_be_made_at_once(
    make, counts, clock, returning
):
    process = make()
    assert process.take(WHO, 1).allowed
    assert not process.take(WHO, 1).allowed
    process.give_back(WHO)
    assert process.take(WHO, 1).allowed
    assert not process.take(WHO, 1).allowed


def test_while_the_counts_are_away_this_machine_counts(make, counts, clock, returning):
    process, other = make(), make()
    assert taken(process, 10, quota=5) == 5
    counts.is_away = True
    clock.passes(LEASE_SECONDS)
    assert taken(process, 10, quota=5) == 5
    assert taken(other, 10, quota=5) == 0  # the same machine
    counts.is_away = False
    clock.passes(LEASE_SECONDS)
    assert taken(process, 10, quota=5) == 0


def test_a_call_is_taken_back_where_it_was_counted(make, counts, clock, returning):
    counts.is_away = True
    process = make()
    for _ in range(3):
        assert process.take(WHO, 1).allowed
        process.give_back(WHO)
    assert process.take(WHO, 1).allowed
    assert not process.take(WHO, 1).allowed


def test_what_was_evicted_is_not_forgotten(make, counts, clock, returning):
    process = make()
    assert taken(process, 9, quota=10) == 9
    if isinstance(counts.counts, RedisCounts):
        counts.counts._cache.clear()
    else:
        with counts.counts._table as table:
            table.remove(WHO)
    assert taken(process, 9, quota=10) == 1


def test_processes_forget_clients_that_are_gone(make, counts, clock, returning, monkeypatch):
    monkeypatch.setattr(leases, "MOST_KNOWN", 10)
    process = make()
    for number in range(100):
        assert process.take(bytes([number]) * 16, QUOTA).allowed
    assert len(process._clients) <= 10


def test_both_kinds_of_counts_agree_with_the_rules(counts, clock):
    # The script of Redis and the code of the machine, on the same questions.
    seen = []
    state = State(0, 0, 0)
    for wanted, unused, quota in [(1, 0, 5), (3, 0, 5), (9, 0, QUOTA), (0, 4, QUOTA), (2, 3, 7)]:
        grant = counts.take(Request(WHO, quota, wanted, unused, state))
        state = grant.state
        seen.append((grant.granted, state.previous, state.current))
    assert seen == [(1, 0, 1), (1, 0, 2), (9, 0, 11), (0, 0, 7), (1, 0, 5)]
