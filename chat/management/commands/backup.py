"""`manage.py backup`: copy the SQL database while it is in use."""

from typing import Any

from chat.maintenance.runs import Run
from chat.management.deleting import DeletingCommand
from chat.management.notes import note
from storage.backups.base import BackupReport
from storage.backups.selection import backed_up_elsewhere, get_backups, sql_backups
from storage.exceptions import StorageUnavailable
from storage.interface import Storage


class Command(DeletingCommand):
    """Exit status 1 means that something is not backed up."""

    report_class = BackupReport
    help = (
        "Back up the SQL database to BACKUP_DIR, and delete expired backups, except the two "
        "newest. In production, also check that DynamoDB can restore the table."
    )
    locks = False  # the lock of the folder makes one run wait for the other
    _unchecked: StorageUnavailable | None = None
    """Why the clock could not be checked: a backup is made all the same, and none is deleted."""

    def is_due(self, storage: Storage, run: Run) -> bool:
        return backed_up_elsewhere() is None and bool(sql_backups().expired(run.now))

    def refuse_unconfirmed(self, storage: Storage, run: Run) -> None:
        try:
            super().refuse_unconfirmed(storage, run)
        except StorageUnavailable as error:
            self._unchecked = error

    def work(
        self, storage: Storage, run: Run, report: BackupReport, options: dict[str, Any]
    ) -> None:
        if elsewhere := backed_up_elsewhere():
            note(self, elsewhere)
        for backups in get_backups():
            backups.take(
                run.now,
                report,
                dry_run=run.dry_run,
                keep_expired=self._unchecked is not None,
                check_time=run.check_time,
            )
        if self._unchecked is not None:
            raise self._unchecked
