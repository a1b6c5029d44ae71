"""`manage.py legal_hold add|lift|list`: protect data from being purged and erased."""

import time
from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance import holds
from chat.maintenance.holds import Hold, Holds
from chat.maintenance.identity import check_archive, confirm_archive
from chat.maintenance.runs import LockHeld, Run
from chat.management import arguments
from chat.management.base import WRONG_USE, MaintenanceCommand
from chat.management.notes import note
from storage.interface import Storage

POLL_SECONDS = 0.5


@dataclass
class Report:
    """The number of holds after the command, also if it fails or is stopped."""

    holds: int = 0
    remaining: int = 0


class Command(MaintenanceCommand):
    """A hold applies at once to every run that starts later.

    A run that started earlier may not know of it, so `add` waits until that run has ended. Lifting
    a hold too late does no harm, so `lift` does not wait.
    """

    report_class = Report
    help = "Protect a user or a day (UTC) from being purged and erased, or list what is protected."
    locks = False

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["add", "lift", "list"])
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--user", type=arguments.user, metavar="ID", help="the user")
        what.add_argument(
            "--day", type=arguments.day, help="the day of creation, such as 2026-10-23"
        )
        parser.add_argument(
            "--reason", type=arguments.line, metavar="TEXT", help="why; shown by list"
        )

    def work(self, storage: Storage, run: Run, report: Report, options: dict[str, Any]) -> None:
        wanted = _wanted(run, options)
        # An archive that is not mounted would seem to have no holds.
        if wanted is None:
            check_archive(storage, adopt=True)  # also that of a copy may be read
        else:
            (check_archive if run.dry_run else confirm_archive)(storage)
        report.holds = holds.count(storage.archive)
        if wanted is None:
            self._list(storage)
            return
        if options["action"] == "add":
            self._add(storage, wanted, run)
        else:
            _lift(storage, wanted, run)
        report.holds = holds.count(storage.archive)
        if options["action"] == "add" and not run.dry_run:
            self._wait_for_others(storage, run)
        Holds.of(storage.archive)  # raises if one of them is damaged

    def _add(self, storage: Storage, wanted: Hold, run: Run) -> None:
        known = holds.find(storage.archive, wanted.kind, wanted.value)
        if known and known.reason != wanted.reason:
            note(
                self,
                f"This {known.kind} has been held since {known.since:%Y-%m-%d %H:%M}Z for another "
                f"reason: {known.reason}",
            )
        if not run.dry_run:
            holds.add(storage.archive, wanted)

    def _wait_for_others(self, storage: Storage, run: Run) -> None:
        if _another_runs(storage):
            note(
                self,
                "The hold is in place. Waiting for a run that started earlier and may not know of "
                "it. Stop that run if it deletes what the hold protects.",
            )
        while _another_runs(storage):
            run.step()
            time.sleep(POLL_SECONDS)

    def _list(self, storage: Storage) -> None:
        for hold in Holds.of(storage.archive).all:
            note(
                self, f"{hold.kind} {hold.value} since {hold.since:%Y-%m-%d %H:%M}Z: {hold.reason}"
            )


def _wanted(run: Run, options: dict[str, Any]) -> Hold | None:
    """The hold to add or to lift; None for a list."""
    action, which, user_id = options["action"], options["day"], options["user"]
    if action == "list":
        if which is not None or user_id is not None or options["reason"] is not None:
            raise CommandError("list takes no options: it shows all holds.", returncode=WRONG_USE)
        return None
    if which is None and user_id is None:
        raise CommandError(
            "Name a user or a day: --user ID or --day YYYY-MM-DD.", returncode=WRONG_USE
        )
    if action == "add" and options["reason"] is None:
        raise CommandError("Give the reason: --reason TEXT.", returncode=WRONG_USE)
    reason = options["reason"] or ""
    if which is not None:
        return Hold("day", which.isoformat(), reason, run.now)
    return Hold("user", user_id, reason, run.now)


def _lift(storage: Storage, wanted: Hold, run: Run) -> None:
    known = holds.find(storage.archive, wanted.kind, wanted.value)
    if known is None:
        raise CommandError(f"There is no hold on this {wanted.kind}.")
    if not run.dry_run:
        holds.lift(storage.archive, known)


def _another_runs(storage: Storage) -> bool:
    try:
        with Run(storage):
            return False
    except LockHeld:
        return True
