"""The system checks: each is raised when it is due, and says what to do."""

import sqlite3

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper as DjangosOwn

from storage.startup import checks


def found(check_id):
    return [message for message in run_checks() if message.id == check_id]


@pytest.fixture
def affected_library(monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.40.1")


def test_as_it_is_everything_is_in_order():
    assert run_checks() == []


@pytest.mark.usefixtures("affected_library")
def test_a_library_that_can_corrupt_the_database_is_an_error_with_a_remedy():
    (error,) = found("storage.E001")
    assert error.is_serious()
    assert "3.40.1" in error.msg
    assert "pysqlite3" in error.hint


@pytest.mark.usefixtures("affected_library")
def test_such_a_library_stops_every_command_that_checks():
    with pytest.raises(SystemCheckError, match=r"storage\.E001"):
        call_command("check")


@pytest.mark.parametrize("mode", ["DEFERRED", "EXCLUSIVE", None])
def test_other_transactions_than_immediate_ones_are_an_error_with_a_remedy(monkeypatch, mode):
    options = connections["default"].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "transaction_mode", mode)
    (error,) = found("storage.E002")
    assert error.is_serious()
    assert 'OPTIONS["transaction_mode"] = "IMMEDIATE"' in error.hint


def test_another_engine_is_an_error_with_a_remedy(monkeypatch):
    settings_dict = connections["default"].settings_dict
    monkeypatch.setattr(checks, "connections", {"default": DjangosOwn(settings_dict)})
    (error,) = found("storage.E002")
    assert error.is_serious()
    assert 'ENGINE = "storage.sqlite"' in error.hint


def test_each_error_has_an_id_of_its_own(monkeypatch, affected_library):
    options = connections["default"].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "transaction_mode", None)
    assert sorted(message.id for message in run_checks()) == ["storage.E001", "storage.E002"]
