"""`manage.py storage_status`: what is stored, due and overdue, and when commands last ran."""

import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field, fields
from typing import Any

from chat.maintenance import status
from chat.maintenance.runs import Run
from chat.maintenance.status import Status
from chat.management.base import MaintenanceCommand, policy_of
from chat.metrics.maintenance import last_successes
from storage.interface import Storage

OF_EVERY_RUN = ("command", "status", "dry_run", "seconds")


@dataclass
class Report(Status):
    """The status, and when each command last did all that was due."""

    last_success: dict[str, str] = field(default_factory=dict)


class Command(MaintenanceCommand):
    """Prints a table on a terminal, and otherwise the summary in JSON."""

    report_class = Report
    help = "Show how much is hot and archived, what is due, and when maintenance last ran."
    locks = False

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="end with exit status 1 if something is overdue"
        )

    def work(self, storage: Storage, run: Run, report: Report, options: dict[str, Any]) -> None:
        status.look(storage, policy_of(run), report, run.check_time)
        self._overdue = status.is_overdue(report)
        report.last_success = last_successes()

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if options["check"] and self._overdue:
            self.stderr.write(
                "Something is overdue or damaged: see archive_interactions, purge_interactions and "
                "verify_archive."
            )
            sys.exit(1)

    def say(self, report: Report, summary: dict[str, Any]) -> None:
        if summary["status"] == "failed":  # zeros for what was not looked at mean an empty store
            super().say(report, {name: summary[name] for name in OF_EVERY_RUN})
        elif sys.stdout.isatty() and summary["status"] == "done":
            self._show(report)
        else:
            super().say(report, summary)

    def _show(self, report: Report) -> None:
        for field_ in fields(report):
            value = getattr(report, field_.name)
            if isinstance(value, dict):
                value = "; ".join(f"{name} {count}" for name, count in value.items())
            more = value == status.COUNTED_AT_MOST and field_.name in ("hot", "due_to_archive")
            self.stdout.write(f"{field_.name:<20} {'at least ' if more else ''}{value}")
