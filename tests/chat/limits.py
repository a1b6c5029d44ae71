"""What the tests of limits share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.rate_limits import leases, local, lockouts
from storage.startup import rate_limits
from tests.clocks import Clock


@pytest.fixture
def limits(settings: Any, tmp_path: Path) -> Iterator[Any]:
    """The settings, with counters that start at nothing."""
    settings.DATA_DIR = tmp_path
    rate_limits.forget()
    yield settings
    rate_limits.forget()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of all limits, at the start of a window."""
    found = Clock()
    found.steady = 60_000.0
    for module in (leases, local, lockouts):
        monkeypatch.setattr(module, "time", found)
    return found
