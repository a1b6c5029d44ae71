"""`manage.py storage_status`: what is stored, due and overdue, and when what ran."""

import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field, fields
from typing import Any

from chat.maintenance import status
from chat.maintenance.runs import Run
from chat.maintenance.status import Status
from chat.management.base import MaintenanceCommand, policy_of
from chat.metrics import maintenance as maintenance_metrics
from storage.interface import Storage


@dataclass
class Report(Status):
    """And when the commands last did all that was due."""

    last_success: dict[str, str] = field(default_factory=dict)


class Command(MaintenanceCommand):
    """On a terminal lines for people, elsewhere the summary in JSON alone."""

    help = "Show how much is hot and cold, what is due, and when maintenance last ran."
    locks = False

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="exit status 1 if something is overdue"
        )

    def new_report(self) -> Report:
        return Report()

    def work(self, storage: Storage, run: Run, report: Report, options: dict[str, Any]) -> None:
        status.look(storage, policy_of(run), report)
        self._overdue = status.is_overdue(report)
        report.last_success = maintenance_metrics.last_successes()
        if sys.stdout.isatty():
            self._show(report)

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if options["check"] and self._overdue:
            self.stderr.write("Something is overdue: see archive_interactions, purge_interactions.")
            sys.exit(1)

    def _show(self, report: Report) -> None:
        for each in fields(report):
            value = getattr(report, each.name)
            shown = _line(value) if isinstance(value, dict) else value
            more = value == status.COUNTED_AT_MOST and each.name in ("hot", "due_to_archive")
            self.stdout.write(f"{each.name:<20} {'at least ' if more else ''}{shown}")


def _line(values: dict[str, Any]) -> str:
    return "; ".join(f"{name} {value}" for name, value in values.items())
