"""The audit log: nothing of it can be changed unnoticed, and it has no id of a user."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from storage.accounts import audit_chain, audit_log, audit_pages
from storage.accounts.audit_chain import BrokenChain
from storage.accounts.audit_log import Action
from storage.accounts.audit_pages import AuditQuery
from storage.models import AuditEntry
from tests.chat import fork_server
from tests.chat.processes import environment, give_tables, run
from tests.conftest import append_only_log_can_be_emptied

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_sql]

ENTRIES = AuditEntry.objects
OLD, NEW = "the-old-key-" + "0" * 30, "the-new-key-" + "1" * 30


def write(count, **about):
    for number in range(count):
        audit_log.record(Action.READ, "grace", interaction_id=f"i-{number}", **about)


def tamper(sql, *parameters):
    """What somebody does who can write the file: without triggers."""
    with append_only_log_can_be_emptied(connection), connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def test_all_that_was_written_is_verified():
    write(3, user_id="ada", reason="a complaint", details={"count": 2, "days": ["2026-11-30"]})
    found = audit_chain.verify()
    assert (found.entries, found.digest) == (3, ENTRIES.get(pk=3).digest)
    assert found.oldest <= found.newest


def test_an_empty_log_is_sound():
    assert audit_chain.verify().entries == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("staff", "eve"),
        ("at", "2020-01-01 00:00:00"),
        ("action", "listed"),
        ("address", "192.0.2.1"),
        ("user_pseudonym", "0" * 32),
        ("interaction_id", "i-7"),
        ("reason", "another"),
        ("details", '{"count": 3}'),
        ("digest", "0" * 64),
    ],
)
def test_a_changed_entry_is_found(column, value):
    write(4, details={"count": 2})
    tamper(f"UPDATE storage_auditentry SET {column} = %s WHERE id = 2", value)
    with pytest.raises(BrokenChain, match=r"Entry 2 .* was changed"):
        audit_chain.verify()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("id = 2", "Entry 2 is missing"),
        ("id IN (2, 3)", "The entries 2 to 3 are missing"),
        ("id <= 2", "The entries 1 to 2 are missing"),
    ],
)
def test_a_removed_entry_is_found(condition, message):
    write(4)
    tamper(f"DELETE FROM storage_auditentry WHERE {condition}")
    with pytest.raises(BrokenChain, match=message):
        audit_chain.verify()


def test_a_chain_that_is_closed_again_without_the_key_is_found(settings):
    """Whoever removes an entry can number the rest again, and make digests with a guessed key."""
    write(4)
    tamper("DELETE FROM storage_auditentry WHERE id = 2")
    previous = ENTRIES.get(pk=1).digest
    for number in (3, 4):
        entry = ENTRIES.get(pk=number)
        entry.pk = number - 1
        forged = audit_chain.digest_of(entry, previous, "a guess")
        tamper(
            "UPDATE storage_auditentry SET id = id - 1, digest = %s WHERE id = %s", forged, number
        )
        previous = forged
    with pytest.raises(BrokenChain, match=r"Entry 2 .* was changed"):
        audit_chain.verify()


def test_a_mark_that_was_forged_is_found():
    write(4)
    digest = ENTRIES.get(pk=2).digest
    tamper("DELETE FROM storage_auditentry WHERE id <= 2")
    details = f'{{"until": 2, "digest": "{digest}"}}'
    tamper(
        "UPDATE storage_auditentry SET action = 'entries removed', details = %s WHERE id = 4",
        details,
    )
    with pytest.raises(BrokenChain, match=r"Entry 4 .* was changed"):
        audit_chain.verify()


def test_a_digest_that_was_kept_proves_that_the_end_is_still_there():
    write(3)
    kept = audit_chain.verify().digest
    write(2)
    assert audit_chain.verify(kept).entries == 2
    tamper("DELETE FROM storage_auditentry WHERE id >= 3")
    assert audit_chain.verify().entries == 2, "the log alone cannot tell"
    with pytest.raises(BrokenChain, match="No entry has the digest"):
        audit_chain.verify(kept)


def test_the_log_outlives_a_change_of_the_secret_key(settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    write(2, user_id="ada")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    write(2, user_id="ada")
    assert audit_chain.verify().entries == 4
    assert len(audit_pages.page(AuditQuery(user_id="ada"), 10).entries) == 4
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(BrokenChain, match=r"Entry 1 .* SECRET_KEY_FALLBACKS"):
        audit_chain.verify()


def test_no_user_can_be_read_in_the_log(tmp_path):
    write(1, user_id="ada", reason="Ada asked, and so did ADA; adaptive stays")
    entry = ENTRIES.get()
    assert entry.reason == "(user) asked, and so did (user); adaptive stays"
    row = repr(ENTRIES.values_list().get())
    assert "'ada'" not in row
    assert len(entry.user_pseudonym) == 32
    with pytest.raises(ValueError, match="cannot have user_id"):
        write(1, details={"user_id": "ada"})


def test_odd_texts_are_kept_as_far_as_a_database_can():
    about = {"interaction_id": "x\0\ud800" + "y" * 999, "details": {"a": "z" * 999, "when": OLD}}
    audit_log.record(Action.READ, "grace", **about)
    assert len(ENTRIES.get().interaction_id) == 255
    assert audit_chain.verify().entries == 1


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: ENTRIES.filter(pk=1).update(staff="eve"),
        lambda: ENTRIES.filter(pk=1).delete(),
        lambda: ENTRIES.all().delete(),
    ],
    ids=["change", "delete", "delete all"],
)
def test_the_database_refuses_changes(attempt):
    write(2)
    with pytest.raises(IntegrityError, match="append-only"):
        attempt()
    assert ENTRIES.count() == 2


class TestRetention:
    def days_later(self, days):
        return datetime.now(UTC) + timedelta(days=days)

    def test_the_oldest_go_in_steps_and_the_rest_is_verified(self):
        write(5)
        until = timezone.now()
        write(3)
        kept = audit_chain.verify().digest
        counts = [audit_log.remove(until, 2) for _ in range(5)]
        assert counts == [2, 2, 1, 0, 0]
        numbers = list(ENTRIES.order_by("pk").values_list("pk", flat=True))
        assert numbers == [6, 7, 8, 9, 10, 11]  # the last three are marks
        assert audit_chain.verify().entries == 6
        assert audit_chain.verify(kept).entries == 3

    def test_it_ends_even_if_everything_is_old(self):
        write(5)
        steps = [audit_log.remove(self.days_later(9), 2) for _ in range(9)]
        assert steps[-1] == 0
        assert audit_chain.verify().entries == ENTRIES.count() > 0

    def test_what_is_younger_stays_whatever_a_mark_says(self):
        write(4)
        audit_log.remove(self.days_later(0), 2)
        with pytest.raises(IntegrityError, match="append-only"):
            ENTRIES.filter(pk=3).delete()

    def test_what_is_removed_during_a_verification_is_no_break(self, monkeypatch):
        write(6)
        monkeypatch.setattr(audit_chain, "_PAGE", 2)
        original, calls = audit_chain._page_from, []

        def page_from(number):
            calls.append(number)
            if len(calls) == 2:
                audit_log.remove(self.days_later(0), 4)
            return original(number)

        monkeypatch.setattr(audit_chain, "_page_from", page_from)
        assert audit_chain.verify().entries == 2 + 2 + 1


WRITER = """
import sys, time
from pathlib import Path
import django
django.setup()
from storage.accounts import audit_log
folder, name = Path(sys.argv[1]), sys.argv[2]
(folder / name).touch()
while len(list(folder.glob("writer-*"))) < 2:
    time.sleep(0.01)
for number in range(50):
    audit_log.record(audit_log.Action.READ, name)
"""


@pytest.mark.on_sqlite("its processes share a file; `tests.storage.postgresql` has theirs")
def test_two_processes_do_not_fork_the_chain(tmp_path):
    give_tables(tmp_path)
    settings = environment(tmp_path) | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    writers = [
        fork_server.Popen(["-c", WRITER, tmp_path, f"writer-{number}"], settings, preloaded=True)
        for number in range(2)
    ]
    assert [writer.wait(300) for writer in writers] == [0, 0]
    verified = run(tmp_path, "verify_audit")
    assert verified.stdout.startswith(b"100 entries verified"), verified.stderr
    with sqlite3.connect(tmp_path / "data.sqlite3") as database:
        by_writer = "SELECT count(*) FROM storage_auditentry GROUP BY staff"
        assert database.execute(by_writer).fetchall() == [(50,), (50,)]


class TestPages:
    def numbers(self, **asked):
        return [entry.pk for entry in audit_pages.page(AuditQuery(**asked), 10).entries]

    def test_filters_alone_and_together(self):
        for number in range(8):
            audit_log.record(
                (Action.READ, Action.LISTED)[number % 2],
                ("grace", "alan")[number // 4],
                user_id=("ada", "bob")[number // 2 % 2],
            )
        assert self.numbers() == [8, 7, 6, 5, 4, 3, 2, 1]
        assert self.numbers(staff="alan") == [8, 7, 6, 5]
        assert self.numbers(action="read") == [7, 5, 3, 1]
        assert self.numbers(user_id="ada") == [6, 5, 2, 1]
        assert self.numbers(pseudonym=ENTRIES.get(pk=3).user_pseudonym) == [8, 7, 4, 3]
        assert self.numbers(staff="grace", action="read", user_id="bob") == [3]
        assert self.numbers(staff="grace", before=3) == [2, 1]
        today = datetime.now(UTC).date()
        assert self.numbers(day=today, staff="grace") == [4, 3, 2, 1]
        assert self.numbers(day=today - timedelta(days=9)) == []

    def test_what_no_index_has_is_searched_in_bounded_steps(self, monkeypatch):
        monkeypatch.setattr(audit_pages, "SPAN", 4)
        write(1)
        for _ in range(9):
            audit_log.record(Action.LISTED, "grace")
        query = AuditQuery(staff="grace", action="read")
        page = audit_pages.page(query, 10)
        assert (page.entries, page.next_before) == ([], 7)
        assert page.searched_until == ENTRIES.get(pk=7).at
        assert [entry.pk for entry in audit_pages.all_entries(query)] == [1]
