"""`manage.py purge_interactions`: delete interactions past the retention cutoff."""

from typing import Any

from chat.maintenance import purging, share
from chat.maintenance.purging import Purged
from chat.maintenance.runs import Run
from chat.management.base import policy_of
from chat.management.deleting import DeletingCommand
from storage.interface import Storage


class Command(DeletingCommand):
    """Deletes from the archive first, oldest day first, and then from the database."""

    report_class = Purged
    help = "Delete interactions older than RETENTION_TOTAL_DAYS from the archive and the database."

    def is_due(self, storage: Storage, run: Run) -> bool:
        return purging.is_due(storage, policy_of(run))

    def refuse_unconfirmed(self, storage: Storage, run: Run) -> None:
        super().refuse_unconfirmed(storage, run)
        share.check(storage, policy_of(run))

    def work(self, storage: Storage, run: Run, report: Purged, options: dict[str, Any]) -> None:
        purging.purge(storage, policy_of(run), run, report)
