"""`manage.py backup`: a copy of the SQL database while it is in use."""

from typing import Any

from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand
from storage.backups.base import BackupReport
from storage.backups.selection import get_backups
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Exit status 1: something is not backed up."""

    help = (
        "Back the SQL database up into BACKUP_DIR, delete backups that have expired, and in "
        "production make sure that DynamoDB can restore the table."
    )
    locks = False  # two runs wait for one another at the folder

    def new_report(self) -> BackupReport:
        return BackupReport()

    def work(
        self, storage: Storage, run: Run, report: BackupReport, options: dict[str, Any]
    ) -> None:
        for backups in get_backups():
            backups.take(run.now, report, dry_run=run.dry_run)
