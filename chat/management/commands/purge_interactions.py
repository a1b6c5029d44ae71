"""`manage.py purge_interactions`: what is past all its days is deleted."""

from typing import Any

from chat.maintenance import purging
from chat.maintenance.purging import Purged
from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand, policy_of
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Works through the archive, oldest day first, then through the database."""

    help = "Delete interactions older than RETENTION_TOTAL_DAYS from the archive and the database."

    def new_report(self) -> Purged:
        return Purged()

    def work(self, storage: Storage, run: Run, report: Purged, options: dict[str, Any]) -> None:
        purging.purge(storage, policy_of(run), run, report)
