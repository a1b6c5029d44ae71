"""`manage.py archive_interactions`: move older interactions to the archive."""

from typing import Any

from chat.maintenance import archiving, search_index, usage
from chat.maintenance.archiving import Archived
from chat.maintenance.damage import Damage
from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand, policy_of
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Moves what is due, in batches of one day. Then counts usage again, if that is due."""

    report_class = Archived
    is_remembered = True
    help = "Move interactions older than RETENTION_HOT_DAYS from the database to the archive."

    def work(self, storage: Storage, run: Run, report: Archived, options: dict[str, Any]) -> None:
        with Damage() as damage:
            with damage.passed_over():
                archiving.archive(storage, policy_of(run), run, report)
            with damage.passed_over():
                self._count_usage_if_due(storage, run)
            with damage.passed_over():
                search_index.complete(storage, run)

    def _count_usage_if_due(self, storage: Storage, run: Run) -> None:
        if days := usage.rebuild_if_due(storage, run):
            self.stderr.write(f"The usage of {days} days was counted again: see rebuild_usage.")
