"""`manage.py legal_hold add|lift|list`: what may not be purged or erased."""

from argparse import ArgumentParser
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.core.management.base import CommandError

from chat.management.commands.erase_user import user
from chat.management.commands.restore_archive import day
from chat.management.maintenance import MaintenanceCommand
from storage.archive import holds
from storage.archive.holds import Hold, Holds
from storage.interface import Storage
from storage.lifecycle.runs import Run

WRONG_USE = 2


@dataclass
class Report:
    """What has become of the holds."""

    holds: int = 0
    remaining: int = 0


class Command(MaintenanceCommand):
    """Takes the lock of maintenance runs, so that no purge is midway when a hold begins."""

    help = "Keep a user, or a day (UTC), from being purged and erased; or see what is kept so."

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["add", "lift", "list"])
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--user", type=user, metavar="ID", help="the user")
        what.add_argument("--day", type=day, help="the day of creation, such as 2026-10-23")
        parser.add_argument("--reason", default="", help="why; shown in the list")

    def new_report(self) -> Report:
        return Report()

    def work(self, storage: Storage, run: Run, report: Report, options: dict[str, Any]) -> None:
        action, archive = options["action"], storage.archive
        if action != "list":
            hold = _hold(run, options)
            if action == "add" and not run.dry_run:
                holds.put(archive, hold)
            elif action == "lift":
                if hold.name not in {each.name for each in Holds.of(archive).all}:
                    raise CommandError(f"There is no hold on this {hold.kind}.")
                if not run.dry_run:
                    holds.lift(archive, hold)
        found = Holds.of(archive).all
        report.holds = len(found)
        if action == "list":
            for each in found:
                self.stderr.write(f"{each.kind} {each.value} since {each.since}: {each.reason}")


def _hold(run: Run, options: dict[str, Any]) -> Hold:
    which: date | None = options["day"]
    if options["user"] is None and which is None:
        raise CommandError("Say which: --user ID or --day YYYY-MM-DD.", returncode=WRONG_USE)
    if options["action"] == "add" and not options["reason"].strip():
        raise CommandError("Say why: --reason TEXT.", returncode=WRONG_USE)
    if which is not None:
        return Hold("day", which.isoformat(), options["reason"], run.now)
    return Hold("user", options["user"], options["reason"], run.now)
