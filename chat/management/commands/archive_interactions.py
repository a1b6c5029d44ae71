"""`manage.py archive_interactions`: what is no longer hot goes to the archive."""

from typing import Any

from chat.maintenance import archiving
from chat.maintenance.archiving import Archived
from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand, policy_of
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Works through what is due, a batch of one day at a time."""

    help = "Move interactions older than RETENTION_HOT_DAYS from the database to the archive."

    def new_report(self) -> Archived:
        return Archived()

    def work(self, storage: Storage, run: Run, report: Archived, options: dict[str, Any]) -> None:
        archiving.archive(storage, policy_of(run), run, report)
