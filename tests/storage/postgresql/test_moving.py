"""The accounts of a SQLite file are moved to PostgreSQL as docs/how-to/postgresql.md says."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from storage.accounts import api_keys, audit_chain, audit_log, intake, key_use
from storage.accounts.audit_log import Action
from storage.accounts.intake import Count
from storage.models import ApiKey, AuditEntry, ForgottenUser, ModelPrice, UsageOfUser
from tests.postgresql import as_default

GUIDE = Path(__file__).parents[3] / "docs/how-to/postgresql.md"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def words(command):
    """The arguments of a command, as the guide has them."""
    (found,) = re.findall(rf"manage\.py {command} (.*)", GUIDE.read_text())
    return found.split()


@pytest.fixture
def moved(postgresql_server, migrated_postgresql, transactional_db, settings, tmp_path):
    """What there was in SQLite; the block is then in PostgreSQL. Gives a session and a key."""
    settings.DATABASE_ROUTERS = ["storage.startup.router.NoInteractions"]
    grace = get_user_model().objects.create_superuser("grace", password="a b c")
    grace.groups.add(Group.objects.create(name="Friends of ours"))
    TOTPDevice.objects.create(user=grace, name="command", key="31" * 20)
    client = Client()
    client.force_login(grace)
    _, key = ApiKey.objects.create_key(name="phone", user_id="ada")
    key_use._add({key.partition(".")[0]: 7}, {}, NOW)
    for number in range(5):
        audit_log.record(Action.READ, "grace", user_id="ada", details={"count": number})
    audit_log.remove(datetime.now(UTC), 2)
    ModelPrice.objects.create(
        model_used="model", valid_from="2026-01-01", input_price="0.000001", output_price=15
    )
    UsageOfUser.objects.create(day="2026-11-30", user_id="ad\u00e4", model_used="m", interactions=3)
    intake.add([Count(NOW, "otlp", "kept", 5, NOW)])
    ForgottenUser.objects.create(pseudonym="a" * 32, at=NOW)
    file = tmp_path / "accounts.exact"
    call_command(
        "dumpdata", *(str(file) if w == "accounts.exact" else w for w in words("dumpdata"))
    )
    api_keys.forget()
    with as_default(postgresql_server.url(migrated_postgresql), patient=True):
        Group.objects.create(name="Friends of ours", pk=77)  # as a role that a migration has made
        Group.objects.all().delete()
        call_command(
            "loaddata", *(str(file) if w == "accounts.exact" else w for w in words("loaddata"))
        )
        yield client, key
    postgresql_server.empty(migrated_postgresql)


def test_all_of_it_is_there_and_goes_on(moved):
    assert connection.vendor == "postgresql"
    client, key = moved
    assert api_keys.find(key).user_id == "ada"
    assert client.get("/admin/password_change/").status_code == 200, "the session holds"
    grace = get_user_model().objects.get()
    assert grace.check_password("a b c")
    assert grace.groups.get().name == "Friends of ours"
    assert TOTPDevice.objects.get().user == grace
    assert audit_chain.verify().entries == 4  # the mark of the removal is one
    audit_log.record(Action.READ, "grace")
    assert audit_chain.verify().entries == 5
    assert AuditEntry.objects.earliest("pk").pk == 3
    assert str(ModelPrice.objects.get().input_price) == "0.000001"
    assert UsageOfUser.objects.get().user_id == "ad\u00e4"
    assert [total.count for total in intake.totals(NOW)] == [5]
    assert ForgottenUser.objects.get().at == NOW
    for_new_rows = get_user_model().objects.create(username="alan")
    assert for_new_rows.pk > grace.pk, "numbers go on where those of SQLite ended"
