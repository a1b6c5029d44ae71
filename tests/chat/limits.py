"""What the tests of limits share."""

import pytest

from storage.rate_limits import leases, local, lockouts
from storage.startup import rate_limits
from tests.clocks import Clock


@pytest.fixture
def limits(settings, tmp_path):
    """The settings, with counters that start at nothing."""
    settings.DATA_DIR = tmp_path
    rate_limits.forget()
    yield settings
    rate_limits.forget()


@pytest.fixture
def clock(monkeypatch):
    """The time of all limits, at the start of a window."""
    found = Clock()
    found.steady = 60_000.0
    for module in (leases, local, lockouts):
        monkeypatch.setattr(module, "time", found)
    return found
