"""`manage.py purge_interactions`: delete interactions past the retention cutoff."""

from typing import Any

from chat.maintenance import purging
from chat.maintenance.purging import Purged
from chat.maintenance.runs import Run
from chat.maintenance.share import check_share
from chat.management.base import MaintenanceCommand, policy_of
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Deletes from the archive first, oldest day first, and then from the database."""

    report_class = Purged
    help = "Delete interactions older than RETENTION_TOTAL_DAYS from the archive and the database."

    by_age = deletes_by_age = True

    def refuse(self, storage: Storage, run: Run, options: dict[str, Any]) -> None:
        super().refuse(storage, run, options)
        check_share(storage, policy_of(run))

    def work(self, storage: Storage, run: Run, report: Purged, options: dict[str, Any]) -> None:
        purging.purge(storage, policy_of(run), run, report)
