"""In production interactions never reach the SQL database."""

import sqlite3

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured

from storage.models import (
    ApiKey,
    ArchivedInteraction,
    ChatInteraction,
    IdempotencyRecord,
    Lock,
    TextChange,
)
from storage.startup.router import ELSEWHERE, NoInteractions
from tests.chat.processes import run

PRODUCTION = {
    "ENVIRONMENT": "production",
    "AWS_REGION": "eu-central-1",
    "SECRET_KEY": "a secret key that is long enough for this test",
}


@pytest.fixture
def _routed(settings):
    settings.DATABASE_ROUTERS = ["storage.startup.router.NoInteractions"]


STRAY_CALLS = {
    "save": lambda: ChatInteraction(user_id="ada", message="Hi", model_used="m").save(),
    "create": lambda: ChatInteraction.objects.create(user_id="ada", model_used="m"),
    "bulk_create": lambda: ChatInteraction.objects.bulk_create([ChatInteraction(user_id="ada")]),
    "get": lambda: ChatInteraction.objects.get(pk="1"),
    "list": lambda: list(ChatInteraction.objects.all()),
    "count": lambda: ChatInteraction.objects.count(),
    "update": lambda: ChatInteraction.objects.filter(pk="1").update(response="x"),
    "delete": lambda: ChatInteraction(pk="1").delete(),
    "delete many": lambda: ChatInteraction.objects.filter(pk="1").delete(),
    "refresh": lambda: ChatInteraction(pk="1").refresh_from_db(),
    "stub": lambda: ArchivedInteraction.objects.filter(pk="1").exists(),
    "lock": lambda: Lock.objects.filter(pk="1").exists(),
    "record": lambda: IdempotencyRecord.objects.filter(pk="1").exists(),
}


# The database is there, with its tables: only the router is in the way.
@pytest.mark.django_db
@pytest.mark.usefixtures("_routed")
@pytest.mark.parametrize("call", STRAY_CALLS)
def test_a_stray_call_of_the_orm_fails_loudly_and_names_the_remedy(call):
    with pytest.raises(ImproperlyConfigured, match=r"Use storage\.get_storage\(\)"):
        STRAY_CALLS[call]()


@pytest.mark.django_db
@pytest.mark.usefixtures("_routed")
def test_what_django_itself_keeps_stays_in_the_sql_database():
    User.objects.create_user("ada")
    ApiKey.objects.create_key(name="test")
    assert (User.objects.count(), ApiKey.objects.count()) == (1, 1)


def test_only_interactions_and_what_belongs_to_them_are_kept_elsewhere():
    assert set(ELSEWHERE) == {
        ArchivedInteraction,
        ChatInteraction,
        IdempotencyRecord,
        Lock,
        TextChange,
    }
    router = NoInteractions()
    assert router.db_for_read(User) is None
    assert router.allow_migrate("default", "auth", "user") is None
    assert router.allow_migrate("default", "storage", "apikey") is None
    assert router.allow_migrate("default", "storage") is None


def tables(folder):
    with sqlite3.connect(folder / "data.sqlite3") as database:
        return {
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }


def test_migrate_makes_no_table_for_them_in_production(tmp_path):
    result = run(tmp_path, "migrate", **PRODUCTION)
    assert result.returncode == 0, result.stderr
    made = tables(tmp_path)
    assert {"auth_user", "django_session", ApiKey._meta.db_table} <= made
    assert made.isdisjoint(model._meta.db_table for model in ELSEWHERE)


def test_migrate_makes_them_elsewhere(tmp_path):
    """Or the test before this one could not fail."""
    assert run(tmp_path, "migrate").returncode == 0
    assert {model._meta.db_table for model in ELSEWHERE} <= tables(tmp_path)
