"""The system checks: each is raised when it is due, and says what to do."""

import sqlite3

import pytest
from django.core.checks import run_checks
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
def test_a_library_that_other_programs_can_make_corrupt_the_database_is_a_warning():
    deployed = run_checks(include_deployment_checks=True)
    (warning,) = [message for message in deployed if message.id == "storage.W010"]
    assert not warning.is_serious()
    assert "3.40.1" in warning.msg
    assert "no other program" in warning.hint
    assert found("storage.W010") == []  # not with every command


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
