"""What every backend's run of the contract shares."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import switches
from tests.clocks import Clock
from tests.contract.calls import CoroutineCalls, SynchronousCalls

# The few examples of a normal run are the same each time; CONTRACT_EXAMPLES asks for more, at
# random. No database of examples, so that no run depends on an earlier one.
settings.register_profile(
    "contract",
    max_examples=switches.number("CONTRACT_EXAMPLES"),
    derandomize=not switches.is_set("CONTRACT_EXAMPLES"),
    database=None,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,  # a fixture is emptied by each example itself
        HealthCheck.differing_executors,  # every backend runs the same tests
        HealthCheck.too_slow,
    ],
)


def pytest_generate_tests(metafunc):
    """A test that uses `calls` runs by both sides of the interface.

    One decorator makes the coroutines of all backends. So one backend runs every test by them, and
    the others run `CoroutinesContract` and `ConcurrencyContract`; `make test-all` runs everything.
    """
    if "calls" in metafunc.fixturenames:
        marks: Any = () if metafunc.cls.every_coroutine else pytest.mark.exhaustive
        coroutine = pytest.param(CoroutineCalls, id="coroutine", marks=marks)
        sides = [pytest.param(SynchronousCalls, id="sync"), coroutine]
        metafunc.parametrize("calls", sides, indirect=True)


@pytest.fixture
def patient(monkeypatch):
    """A busy machine answers late. When callers give up is told in tests/system/faults."""
    from storage.dynamodb import client, pauses

    monkeypatch.setattr(client, "WAIT_SECONDS", 300)
    monkeypatch.setattr(pauses, "SECONDS", 300)


@pytest.fixture
def calls(request, storage):
    """The storage by either side of its interface: both owe the same."""
    return request.param(storage)


@pytest.fixture
def seconds_pass(request, monkeypatch):
    """Lets seconds pass for the cache; at once, if it is in this process and not a server."""
    if (module := request.cls.clock_of_cache) is None:
        return time.sleep
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock.passes
