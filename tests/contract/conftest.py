"""What every backend's run of the contract shares."""

import pytest
from hypothesis import HealthCheck, settings

from tests import switches
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


@pytest.fixture(params=[SynchronousCalls, CoroutineCalls], ids=["sync", "coroutine"])
def calls(request, storage):
    """The storage by either side of its interface: both owe the same."""
    return request.param(storage)
