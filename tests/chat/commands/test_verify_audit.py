"""`manage.py verify_audit`: what it prints, and how it ends."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from storage.accounts import audit_log
from storage.accounts.audit_log import Action
from storage.models import AuditEntry
from tests.conftest import append_only_log_can_be_emptied

pytestmark = pytest.mark.django_db(transaction=True)


def verify(*arguments):
    out = StringIO()
    call_command("verify_audit", *arguments, stdout=out)
    return out.getvalue().splitlines()


def write(count):
    for _ in range(count):
        audit_log.record(Action.LISTED, "grace")


def test_it_prints_what_was_verified_and_the_newest_digest():
    assert verify() == ["The audit log is empty."]
    write(2)
    said, digest = verify()
    assert said.startswith("2 entries verified from ")
    assert digest == f"The newest digest is {AuditEntry.objects.get(pk=2).digest}"
    kept = digest.split()[-1]
    write(3)
    assert verify("--since-digest", kept)[0].startswith("3 entries verified from ")


def test_the_first_break_is_one_line_and_status_1():
    write(3)
    with append_only_log_can_be_emptied(connection), connection.cursor() as cursor:
        cursor.execute("UPDATE storage_auditentry SET staff = 'eve' WHERE id > 1")
    with pytest.raises(CommandError) as error:
        verify()
    assert error.value.returncode == 1
    assert str(error.value).startswith("Entry 2 of ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("digest", ["abc", "g" * 64, "A" * 64])
def test_what_is_no_digest_is_wrong_use(digest):
    with pytest.raises(CommandError, match="64 hexadecimal digits"):
        verify("--since-digest", digest)
