"""A server counts usage by itself where changes are kept for a day only."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from storage.database import Database
from storage.startup import selection, usage


@pytest.mark.parametrize("environment", ["production", "development"])
def test_a_thread_counts_in_production_alone(settings, monkeypatch, environment):
    settings.ENVIRONMENT = environment
    started = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread.name))
    usage.keep_counting()
    assert started == ["usage"] * (environment == "production")


def test_a_failure_is_logged_and_ends_nothing(monkeypatch, caplog):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(usage, "get_storage", fail)
    assert usage.count_once() == usage.PAUSE_SECONDS
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(
    ("since", "pause"),
    [
        (None, usage.PAUSE_SECONDS),  # only a rebuild helps
        (timedelta(0), usage.PAUSE_SECONDS),
        (timedelta(hours=3), usage.LONGEST_SECONDS),
    ],
)
def test_who_is_behind_goes_on_soon(storage, monkeypatch, since, pause):
    until = since if since is None else datetime.now(UTC) - since
    database = type(selection.get_storage().database)
    monkeypatch.setattr(database, "count_usage", lambda database, seconds: until)
    assert usage.count_once() == pause


def test_the_connection_is_given_back(storage, monkeypatch):
    asked = []

    def count(database, seconds):
        asked.append(isinstance(database, Database))
        connections["default"].ensure_connection()

    monkeypatch.setattr(type(selection.get_storage().database), "count_usage", count)
    usage.count_once()
    assert asked == [True]
    assert connections["default"].connection is None
