"""`manage.py restore_archive DAY`: move a day back to the database, for an investigation."""

from argparse import ArgumentParser
from typing import Any

from chat.maintenance import restoring
from chat.maintenance.restoring import Restored
from chat.maintenance.runs import Run
from chat.management import arguments
from chat.management.base import MaintenanceCommand, policy_of
from storage.interface import Storage


class Command(MaintenanceCommand):
    """The next archive_interactions archives what is past RETENTION_HOT_DAYS again."""

    report_class = Restored
    is_remembered = True
    help = "Move the interactions of a day (UTC) from the archive back to the database."

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("day", type=arguments.day, help="the day, such as 2026-10-23")

    def work(self, storage: Storage, run: Run, report: Restored, options: dict[str, Any]) -> None:
        restoring.restore(storage, options["day"], policy_of(run), run, report)
