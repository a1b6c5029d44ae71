"""`manage.py legal_hold add|lift|list`: what may not be purged or erased."""

import time
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import dataclass, replace
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance import holds
from chat.maintenance.holds import Hold, Holds
from chat.maintenance.identity import confirm_archive
from chat.maintenance.runs import LockHeld, Run
from chat.management.base import MaintenanceCommand
from chat.management.commands.erase_user import user
from chat.management.commands.restore_archive import day
from storage.interface import Storage

WRONG_USE = 2

POLL_SECONDS = 0.5


@dataclass
class Report:
    """What is held now."""

    holds: int = 0
    remaining: int = 0


class Command(MaintenanceCommand):
    """A hold is in place at once, for every run that begins from then on.

    A run that has begun earlier may not know of it, so `add` waits until that has ended. To lift a
    hold too late does no harm, so `lift` waits for nothing.
    """

    help = "Keep a user, or a day (UTC), from being purged and erased; or see what is kept so."
    locks = False

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["add", "lift", "list"])
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--user", type=user, metavar="ID", help="the user")
        what.add_argument("--day", type=day, help="the day of creation, such as 2026-10-23")
        parser.add_argument("--reason", type=line, metavar="TEXT", help="why; shown in the list")

    def new_report(self) -> Report:
        return Report()

    def work(self, storage: Storage, run: Run, report: Report, options: dict[str, Any]) -> None:
        wanted = _wanted(run, options)
        if not run.dry_run:
            confirm_archive(storage)  # an archive that is not mounted seems to have none
        if wanted is None:
            self._list(storage)
        elif options["action"] == "add":
            self._add(storage, wanted, run)
        else:
            _lift(storage, wanted, run)
        report.holds = len(Holds.of(storage.archive).all)

    def _add(self, storage: Storage, wanted: Hold, run: Run) -> None:
        if run.dry_run:
            return
        known = Holds.of(storage.archive).find(wanted.kind, wanted.value)
        holds.put(storage.archive, replace(wanted, since=known.since) if known else wanted)
        is_waiting = False
        while not _nothing_runs(storage):
            if not is_waiting:
                self.stderr.write(
                    "The hold is in place. Waiting for a run that has begun earlier and may not "
                    "know of it; stop that one if it deletes what is to be held."
                )
                is_waiting = True
            run.step()
            time.sleep(POLL_SECONDS)

    def _list(self, storage: Storage) -> None:
        for each in Holds.of(storage.archive).all:
            self.stderr.write(
                f"{each.kind} {each.value} since {each.since:%Y-%m-%d %H:%M}Z: {each.reason}"
            )


def line(text: str) -> str:
    """A text to be shown in one line."""
    if not text.strip() or not text.isprintable():
        raise ArgumentTypeError("write one line")
    return text.strip()


def _wanted(run: Run, options: dict[str, Any]) -> Hold | None:
    """The hold that is to be added or lifted; None for a list."""
    action, which, user_id = options["action"], options["day"], options["user"]
    if action == "list":
        if which is not None or user_id is not None or options["reason"] is not None:
            raise CommandError("list takes no more: it shows all holds.", returncode=WRONG_USE)
        return None
    if which is None and user_id is None:
        raise CommandError("Say which: --user ID or --day YYYY-MM-DD.", returncode=WRONG_USE)
    if action == "add" and options["reason"] is None:
        raise CommandError("Say why: --reason TEXT.", returncode=WRONG_USE)
    reason = options["reason"] or ""
    if which is not None:
        return Hold("day", which.isoformat(), reason, run.now)
    return Hold("user", user_id, reason, run.now)


def _lift(storage: Storage, wanted: Hold, run: Run) -> None:
    known = Holds.of(storage.archive).find(wanted.kind, wanted.value)
    if known is None:
        raise CommandError(f"There is no hold on this {wanted.kind}.")
    if not run.dry_run:
        holds.lift(storage.archive, known)


def _nothing_runs(storage: Storage) -> bool:
    try:
        with Run(storage):
            return True
    except LockHeld:
        return False
