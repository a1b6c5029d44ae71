"""A restored database whose archive is lost for good goes on with an empty one."""

from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance import practice
from chat.maintenance.erasure.after_restore import bring_up_to_date
from chat.maintenance.identity import ArchiveMismatch
from chat.maintenance.policy import Policy
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.backups.base import RestoredDatabase, RestoreReport

pytestmark = pytest.mark.every_backend

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = Policy(NOW, hot_days=30, total_days=90)


def test_stubs_of_what_is_lost_go_and_are_counted(store, tmp_path, monkeypatch):
    store.fill(*(NOW - days * timedelta(days=1) for days in (1, 40, 41)))
    store.run("archive_interactions", now=NOW)
    monkeypatch.setattr(store.storage, "archive", Archive(ArchiveFolder(tmp_path / "empty")))
    restored = RestoredDatabase(store.storage, None, store.storage.archive)
    with pytest.raises(ArchiveMismatch):
        bring_up_to_date(restored, POLICY)
    report = RestoreReport()
    practice.count_stubs(store.storage, POLICY, report)
    assert (report.archived, report.not_in_archive) == (2, 2)
    bring_up_to_date(restored, POLICY, archive_lost=True)
    assert list(store.storage.database.all_stubs()) == []
    assert store.hot() == ["i-0000"]
    bring_up_to_date(restored, POLICY)  # it is the database's now
