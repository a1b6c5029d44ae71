"""`manage.py backup`: a copy of the SQL database while it is in use."""

from typing import Any

from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand
from storage.backups import backups
from storage.backups.backups import Taken
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Exit status 1: something is not backed up."""

    help = (
        "Back the SQL database up into BACKUP_DIR, delete backups that have expired, and in "
        "production make sure that DynamoDB can restore the table."
    )
    locks = False  # two runs wait for one another at the folder

    def new_report(self) -> Taken:
        return Taken()

    def work(self, storage: Storage, run: Run, report: Taken, options: dict[str, Any]) -> None:
        backups.take(run.now, report, dry_run=run.dry_run)
