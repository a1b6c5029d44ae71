"""verify_archive: damage is found before somebody needs the file, however large the archive is."""

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance import holds, verification
from chat.maintenance.erasure import ledger
from chat.maintenance.holds import Hold
from chat.management.base import STOPPED
from tests.chat.lines import command

pytestmark = pytest.mark.every_backend(exhaustive=True)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def segments(store):
    """Five segments of two rows each, of five days."""
    store.fill(
        *(NOW - days * DAY + n * timedelta(hours=1) for days in range(40, 45) for n in (0, 1))
    )
    store.run("archive_interactions", now=NOW)
    holds.put(store.archive, Hold("user", "bob", "a case", NOW))
    ledger.request(store.archive, "carol")
    return store.segments()


def verify(store, *options, status=0):
    return store.run("verify_archive", *options, now=NOW, status=status)


def flip(store, name):
    """Change one bit in the middle of a file."""
    content = bytearray(store.archive.files.read(name))
    content[len(content) // 2] ^= 1
    store.archive.files.write(name, bytes(content))


def data_of(store, segment):
    return store.archive.manifest(segment).data


@pytest.mark.every_backend
def test_an_intact_archive(store, segments):
    found = verify(store, "--stubs")
    assert (found["segments"], found["rows"], found["documents"]) == (5, 10, 3)
    assert (found["damaged"], found["remaining"]) == ([], 0)
    status = store.run("storage_status", "--check", now=NOW)
    assert (status["damaged"], status["verified_at"]) == ([], found["finished_at"])


def test_one_that_was_never_used(store):
    assert verify(store, "--stubs")["segments"] == 0


def test_all_damaged_files_are_named_and_the_status_knows_them(store, segments):
    damaged = [
        data_of(store, segments[1]),
        f"{segments[3]}.json",
        Hold("user", "bob", "", NOW).name,
    ]
    for name in damaged:
        flip(store, name)
    ended, said, errors = store.told("verify_archive", "--now", NOW.isoformat())
    found = json.loads(said)
    assert (ended, found["damaged"], found["segments"]) == (1, sorted(damaged), 3)
    assert all(f"{name} in the archive is damaged" in errors for name in damaged)
    flip(store, damaged[2])  # without it no status can be told
    status = store.run("storage_status", "--check", now=NOW, status=1)
    assert (status["damaged"], status["verified_at"]) == (sorted(damaged), found["finished_at"])
    for name in damaged[:2]:
        flip(store, name)
    assert verify(store)["damaged"] == []
    assert store.run("storage_status", "--check", now=NOW)["damaged"] == []


def test_it_goes_on_where_it_was_stopped(store, segments, monkeypatch):
    """A run that is stopped after its first segment; another one that does the rest."""
    flip(store, data_of(store, segments[0]))
    read = []
    verified_rows = type(store.archive).verified_rows

    def counting(self, segment):
        read.append(segment)
        return verified_rows(self, segment)

    monkeypatch.setattr(type(store.archive), "verified_rows", counting)
    steps = iter([False, True])

    def stop_after_two(self, done=0):
        if next(steps, True):
            self.stop()
        return step(self, done)

    from chat.maintenance.runs import Run

    step = Run.step
    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", stop_after_two)
        # Damage is the worse news: such a run does not look sound.
        found = verify(store, status=1)
    assert (read, found["damaged"]) == ([segments[0]], [data_of(store, segments[0])])
    assert store.run("storage_status", now=NOW)["damaged"] == found["damaged"]
    assert store.run("storage_status", now=NOW)["verified_at"] is None
    flip(store, data_of(store, segments[0]))
    found = verify(store, status=1)
    assert read == segments
    assert (found["segments"], found["damaged"]) == (4, [data_of(store, segments[0])])
    assert verify(store)["segments"] == 5, "a new one, after the repair"


def test_time_that_is_up_is_status_3(store, segments):
    found = verify(store, "--max-seconds", "0", status=STOPPED)
    assert (found["segments"], found["remaining"], found["finished_at"]) == (0, 8, None)


def test_files_that_are_gone(store, segments):
    lost_rows, lost_manifest, lost_both = segments[:3]
    store.archive.files.delete(data_of(store, lost_rows))
    for segment in (lost_both, lost_manifest):
        data = data_of(store, segment)
        store.archive.files.delete(f"{segment}.json")
        if segment == lost_both:
            store.archive.files.delete(data)
    found = verify(store, status=1)
    assert found["damaged"][1] == f"{lost_manifest}.json"
    assert [name[:10] for name in found["damaged"]] == [lost_rows[:10], lost_manifest[:10]]
    found = verify(store, "--stubs", status=1)
    assert f"{lost_both}.json" in found["damaged"]


@pytest.mark.every_backend
def test_rows_and_stubs_that_do_not_belong_together(store, segments):
    first, second = segments[:2]
    rows = [row.interaction_id for row in store.archive.rows(first)]
    store.storage.database.drop_stubs(rows[:1], first)  # with no mark, as nothing would do it
    _, said, errors = store.told("verify_archive", "--now", NOW.isoformat())
    assert json.loads(said)["damaged"] == [f"{first}.json"]
    assert "1 of its rows count as deleted, and are there" in errors
    kept = list(store.archive.rows(second))[1:]
    store.archive.write(second, kept)
    _, said, errors = store.told("verify_archive", "--now", NOW.isoformat(), "--stubs")
    assert json.loads(said)["damaged"] == sorted([f"{first}.json", f"{second}.json"])
    assert "1 rows that the database knows are not there" in errors


@pytest.mark.every_backend
def test_what_a_run_has_to_complete_or_purge_is_no_damage(store, segments):
    store.storage.delete_interaction_sync("i-0000")  # marks its segment
    found = store.run("verify_archive", "--stubs", now=NOW + 48 * DAY)  # one more has expired
    assert found["damaged"] == []


def test_an_archive_that_is_not_mounted_is_not_called_intact(
    store, segments, monkeypatch, tmp_path
):
    from storage.archive.archive import Archive
    from storage.archive.folder import ArchiveFolder

    empty = tmp_path / "empty"
    monkeypatch.setattr(store.storage, "archive", Archive(ArchiveFolder(empty)))
    ended, _, errors = store.told("verify_archive")
    assert (ended, "mounted" in errors) == (1, True)
    assert not empty.exists()


def test_it_changes_nothing_but_its_own_document(store, segments):
    store.archive.files.write(verification.NAME, b"damaged")
    before = store.state()
    verify(store, "--stubs", "--dry-run")
    assert store.state() == before
    verify(store, "--stubs")
    _, files = store.state()
    del files[verification.NAME], before[1][verification.NAME]
    assert files == before[1]


def test_the_status_is_a_table_on_a_terminal_and_else_json(store, segments, monkeypatch):
    verify(store)
    assert json.loads(command("storage_status")[1])["cold"] == 10
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    table = command("storage_status")[1]
    assert "cold                 10\n" in table
    assert "{" not in table.replace("{}", "")
