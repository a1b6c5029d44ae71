"""Health checks and the status: what is looked at, how often, and who may see it."""

import tomllib

import pytest
from django.db import connection
from django.test import Client

from storage import get_storage
from storage.accounts import usage
from storage.exceptions import StorageUnavailable
from storage.startup import availability, schema
from tests.chat.processes import ROOT

pytestmark = pytest.mark.every_backend

STATUS = "/api/v1/status/"


class Clock:
    """A clock that the test holds."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    held = Clock()
    monkeypatch.setattr(availability, "time", held)
    return held


@pytest.fixture
def nobody(transactional_db):
    return Client()


def fail(*args):
    raise StorageUnavailable("The store is away.")


def test_a_server_that_is_ready_says_what_it_has_looked_at(nobody):
    answer = nobody.get("/readyz")
    cache = get_storage().cache.state()
    assert answer.json() == {
        "status": "ok",
        "checks": {
            "database": "ok",
            "migrations": "ok",
            "indexes": "ok",
            "triggers": "ok",
            "cache": cache,
        },
    }
    assert cache in ("memory", "none")


def test_the_database_fails_it(nobody, monkeypatch):
    monkeypatch.setattr(type(get_storage().database), "check_available", fail)
    answer = nobody.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "failed": "database",
        "detail": "The store is away.",
        "checks": {
            "database": "failed",
            "migrations": "unknown",
            "indexes": "unknown",
            "triggers": "unknown",
            "cache": get_storage().cache.state(),
        },
    }
    assert nobody.get("/healthz").status_code == 200


def test_a_missing_migration_fails_it(nobody, monkeypatch):
    lacking = schema._on_disk() | {("storage", "9999_later")}
    monkeypatch.setattr(schema, "_on_disk", lambda: lacking)
    answer = nobody.get("/readyz")
    assert (answer.status_code, answer.json()["failed"]) == (503, "migrations")
    assert answer.json()["checks"]["indexes"] == "unknown"


@pytest.mark.on_sqlite("an index of the SQL database")
def test_a_missing_index_fails_it(nobody):
    with connection.cursor() as cursor:
        name, sql = cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
            "AND tbl_name = 'storage_chatinteraction'"
        ).fetchone()
        cursor.execute(f"DROP INDEX {name}")
        try:
            answer = nobody.get("/readyz")
        finally:
            cursor.execute(sql)
    assert (answer.status_code, answer.json()["failed"]) == (503, "indexes")
    assert name in answer.json()["detail"]


@pytest.mark.parametrize("name", ["usage_created", "audit_entry_stays"])
def test_a_missing_trigger_fails_it(nobody, name):
    """Whatever made the table anew has lost it, and what it keeps up to date is not any more."""
    with connection.cursor() as cursor:
        made = cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [name]).fetchone()
        if made is None:
            pytest.skip("of interactions, which this database has not")
        cursor.execute(f"DROP TRIGGER {name}")
        try:
            answer = nobody.get("/readyz")
        finally:
            cursor.execute(*made)
    assert (answer.status_code, answer.json()["failed"]) == (503, "triggers")
    detail = f"{name} is missing: run manage.py check --database default."
    assert answer.json()["detail"] == detail


def test_the_cache_is_reported_and_fails_nothing(nobody, monkeypatch):
    monkeypatch.setattr(type(get_storage().cache), "state", lambda cache: "away")
    answer = nobody.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["cache"]) == (200, "away")


def test_probes_within_a_second_ask_the_database_once(nobody, monkeypatch, clock):
    asked = []
    database = type(get_storage().database)
    monkeypatch.setattr(database, "check_available", lambda database: asked.append("database"))
    monkeypatch.setattr(schema, "is_up_to_date", lambda: not asked.append("schema"))
    for passed, expected in (
        (0, ["database", "schema"]),
        (0.5, ["database", "schema"]),
        (0.6, ["database", "schema", "database"]),
        (60, ["database", "schema", "database", "database", "schema"]),
    ):
        clock.now += passed
        assert nobody.get("/readyz").status_code == 200
        assert asked == expected


def test_what_fails_is_looked_at_again_after_a_second(nobody, monkeypatch, clock):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "is_up_to_date", lambda: False)
        assert nobody.get("/readyz").status_code == 503
    clock.now += 1.1
    assert nobody.get("/readyz").status_code == 200


def test_what_may_not_be_looked_at_is_told_once_a_minute(nobody, monkeypatch, clock, caplog):
    monkeypatch.setattr(type(get_storage().database), "index_problem", fail)
    for _ in range(60):
        assert nobody.get("/readyz").status_code == 200
        clock.now += 1
    told = [line for line in caplog.messages if "could not be looked at" in line]
    assert len(told) == 1


def test_a_schema_that_is_behind_is_not_forgotten_where_a_look_at_it_fails(
    nobody, monkeypatch, clock
):
    database = type(get_storage().database)
    monkeypatch.setattr(database, "index_problem", lambda _: "an index is missing")
    assert nobody.get("/readyz").status_code == 503
    monkeypatch.setattr(database, "index_problem", fail)
    clock.now += 2
    assert nobody.get("/readyz").status_code == 503
    monkeypatch.setattr(database, "index_problem", lambda _: None)
    clock.now += 2
    assert nobody.get("/readyz").status_code == 200


def test_the_status_is_for_operators(client, make_client, nobody):
    found = client.get(STATUS).json()
    assert found["backend"] == get_storage().database.backend
    assert (found["failed"], found["errors"]) == (None, {})
    assert found["interactions"] == {"hot": 0, "cold": 0, "due": 0, "overdue": 0}
    assert found["backup"] == {"made_at": None, "is_late": True}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found["versions"]["store"] == project["version"]
    assert make_client("ada").get(STATUS).status_code == 403
    assert nobody.get(STATUS).status_code == 401
    assert client.get(f"{STATUS}?verbose=1").status_code == 400


def test_a_part_of_the_status_that_cannot_be_told_is_null(client, monkeypatch):
    monkeypatch.setattr(usage, "tiers", fail)
    found = client.get(STATUS).json()
    assert found["interactions"] is None
    assert found["errors"] == {"interactions": "The store is away."}
    assert found["runs"] == []
