"""A clock of a server is read from its answers, whichever zone they name."""

from datetime import UTC, datetime

import pytest

from storage.records.http_dates import time_in

MOMENT = datetime(2026, 11, 30, 12, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["GMT", "UTC", "+0000", "-0000"])
def test_the_time_is_of_utc(zone):
    found = time_in(f"Mon, 30 Nov 2026 12:00:01 {zone}")
    assert (found, found.tzinfo is not None) == (MOMENT, True)


@pytest.mark.parametrize(
    "header", [None, "", "now", "Mon, 30 Nov 2026", "Mon, 30 Nov 99999999999999999999 12:00:01 GMT"]
)
def test_what_is_no_time_is_none(header):
    assert time_in(header) is None
