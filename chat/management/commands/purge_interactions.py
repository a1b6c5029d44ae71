"""`manage.py purge_interactions`: what is past all its days is deleted."""

from typing import Any

from chat.management.maintenance import MaintenanceCommand, policy_of
from storage.interface import Storage
from storage.lifecycle import purging
from storage.lifecycle.purging import Purged
from storage.lifecycle.runs import Run


class Command(MaintenanceCommand):
    """Works through the archive, oldest day first, then through the database."""

    help = "Delete interactions older than RETENTION_TOTAL_DAYS from the archive and the database."

    def new_report(self) -> Purged:
        return Purged()

    def work(self, storage: Storage, run: Run, report: Purged, options: dict[str, Any]) -> None:
        purging.purge(storage, policy_of(run), run, report)
