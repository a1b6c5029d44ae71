"""`manage.py restore_archive DAY`: a day comes back from the archive, for an investigation."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import date
from typing import Any

from chat.maintenance import restoring
from chat.maintenance.restoring import Restored
from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand, policy_of
from storage.interface import Storage


class Command(MaintenanceCommand):
    """What is older than the hot days goes back with the next archive_interactions."""

    help = "Bring the interactions of a day (UTC) back from the archive to the database."

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("day", type=day, help="the day, such as 2026-10-23")

    def new_report(self) -> Restored:
        return Restored()

    def work(self, storage: Storage, run: Run, report: Restored, options: dict[str, Any]) -> None:
        restoring.restore(storage, options["day"], policy_of(run), run, report)


def day(text: str) -> date:
    """A day as ISO 8601 has it."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ArgumentTypeError("write a day, such as 2026-10-23")
