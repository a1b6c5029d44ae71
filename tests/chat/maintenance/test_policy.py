"""What is due: exact to the microsecond, whatever the calendar and the time zone."""

import time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.maintenance.policy import Policy
from storage import expiry

MICROSECOND = timedelta(microseconds=1)
DAY_IN_MICROSECONDS = 86_400 * 10**6
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

MOMENTS = st.datetimes(
    min_value=datetime(1000, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)
)
DAYS = st.one_of(st.sampled_from([1, 30, 90, 365, 366]), st.integers(1, 100_000))
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.fixture(params=["UTC", "Europe/Berlin", "Pacific/Kiritimati"])
def local_zone(request, monkeypatch):
    """Runs a test in a process that believes to be elsewhere."""
    with monkeypatch.context() as context:
        context.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def microseconds(moment):
    """Since 1970, by integers alone."""
    return (moment - EPOCH) // MICROSECOND


def is_archived(policy, created_at):
    return created_at <= policy.archive_until


def is_gone(policy, created_at):
    return created_at <= policy.cutoff


@settings(database=None, deadline=None)
@given(now=MOMENTS, hot=DAYS, more=DAYS)
def test_a_day_has_86400_seconds(now, hot, more):
    policy = Policy(now, hot, hot + more)
    for until, days in ((policy.archive_until, hot), (policy.cutoff, hot + more)):
        assert microseconds(now) - microseconds(until) == days * DAY_IN_MICROSECONDS
        assert until.tzinfo is UTC


@settings(database=None, deadline=None)
@given(now=MOMENTS, zone=OFFSETS)
def test_the_offset_in_which_a_moment_is_written_changes_nothing(now, zone):
    assert Policy(now.astimezone(zone), 30, 90).archive_until == Policy(now, 30, 90).archive_until


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 22, 9, 30, 0, 1, UTC),
        datetime(2024, 2, 29, 12, tzinfo=UTC),  # a leap day
        datetime(2024, 3, 30, tzinfo=UTC),  # the leap day lies in between
        datetime(2023, 3, 31, tzinfo=UTC),
        datetime(2000, 3, 1, tzinfo=UTC),
        datetime(2100, 3, 1, tzinfo=UTC),  # no leap year
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),  # clocks in Berlin go from 2 to 3
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),  # and from 3 to 2
        datetime(2026, 4, 10, 1, 30, tzinfo=BERLIN),
        datetime(2026, 11, 10, 1, 30, tzinfo=BERLIN),
    ],
    ids=str,
)
def test_the_border_is_one_microsecond_wide_everywhere(now, local_zone):
    policy = Policy(now, 30, 90)
    thirty = EPOCH + timedelta(microseconds=microseconds(now) - 30 * DAY_IN_MICROSECONDS)
    ninety = EPOCH + timedelta(microseconds=microseconds(now) - 90 * DAY_IN_MICROSECONDS)
    assert is_archived(policy, thirty)
    assert not is_archived(policy, thirty + MICROSECOND)
    assert is_gone(policy, ninety)
    assert not is_gone(policy, ninety + MICROSECOND)


def test_29_days_23_59_59_stays_and_30_days_goes():
    now = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    policy = Policy(now, 30, 90)
    assert not is_archived(policy, now - timedelta(days=29, hours=23, minutes=59, seconds=59))
    assert is_archived(policy, now - timedelta(days=30))
    assert not is_gone(policy, now - timedelta(days=89, hours=23, minutes=59, seconds=59))
    assert is_gone(policy, now - timedelta(days=90))


@pytest.mark.parametrize("days", [10**6, 10**9, 10**30])
def test_more_days_than_there_have_been_are_since_the_beginning(days):
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert Policy(now, days, days + 1).archive_until == datetime.min.replace(tzinfo=UTC)
    assert Policy(datetime.min.replace(tzinfo=UTC), 1, 2).cutoff.year == 1
    assert Policy(datetime.max.replace(tzinfo=UTC), 30, 90).archive_until.year == 9999


def test_a_moment_without_an_offset_is_refused():
    with pytest.raises(ValueError, match="offset"):
        Policy(datetime(2026, 11, 22), 30, 90)


def test_purging_and_reading_agree_on_what_has_expired(settings, monkeypatch):
    settings.RETENTION_HOT_DAYS, settings.RETENTION_TOTAL_DAYS = 31, 91
    before = datetime.now(UTC)
    policy = Policy.at(before)
    assert (policy.hot_days, policy.total_days) == (31, 91)
    assert before - policy.archive_until == timedelta(days=31)
    # What a run by the clock finds gone, no read shows: it is asked later.
    assert expiry.has_expired(policy.cutoff)
    assert expiry.hot_since() >= policy.archive_until
    assert not expiry.has_expired(policy.cutoff + timedelta(hours=1))
