"""A server counts usage by itself where changes are kept for a day only."""

import threading

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
    usage.count_once()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_the_connection_is_given_back(storage, monkeypatch):
    asked = []
    monkeypatch.setattr(
        type(selection.get_storage().database),
        "count_usage",
        lambda database, seconds: (
            asked.append(isinstance(database, Database)),
            connections["default"].ensure_connection(),
        ),
    )
    usage.count_once()
    assert asked == [True]
    assert connections["default"].connection is None
