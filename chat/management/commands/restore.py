"""`manage.py restore`: a backup in the place of the SQL database, or a table as it once was."""

import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance.erasure.after_restore import bring_up_to_date
from chat.maintenance.runs import LOCK, Run
from chat.management.base import MaintenanceCommand, moment, policy_of
from storage.backups.base import BeforeLive, RestoreReport
from storage.backups.folder import LATEST
from storage.backups.selection import sql_backups, table_backups
from storage.interface import Storage

POLL_SECONDS = 5.0
WRONG_USE = 2


class Command(MaintenanceCommand):
    """Exit status 1: nothing was restored; 3: DynamoDB is not ready, run it again to go on."""

    help = (
        "Put a backup in the place of the SQL database; all servers and commands must have ended. "
        "With --to-table, make a DynamoDB table as that of DYNAMODB_TABLE was."
    )
    locks = False  # the lock is in what is replaced; nobody else has the database open
    requires_system_checks = []  # it is what puts things right

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="a backup, or: latest")
        parser.add_argument("--yes", action="store_true", help="replace what is there")
        parser.add_argument(
            "--migrate", action="store_true", help="bring a backup of an older version up to date"
        )
        parser.add_argument(
            "--keep-old", action="store_true", help="keep the database of before beside the new one"
        )
        parser.add_argument(
            "--expired", action="store_true", help="use a backup that should be deleted by now"
        )
        parser.add_argument("--to-table", metavar="TABLE", help="the table to make")
        parser.add_argument(
            "--at",
            type=_moment_or_latest,
            metavar="TIME",
            help="the time that the table is restored to; default: latest",
        )

    def new_report(self) -> RestoreReport:
        return RestoreReport()

    def work(
        self, storage: Storage, run: Run, report: RestoreReport, options: dict[str, Any]
    ) -> None:
        if (options["name"] is None) == (options["to_table"] is None):
            raise CommandError("Name a backup, or a table: --to-table.", returncode=WRONG_USE)
        if options["to_table"]:
            self._restore_table(run, report, options)
            return
        if not options["yes"] and not run.dry_run:
            raise CommandError(
                "This replaces the database, and with it what was written since the backup. "
                "Add --yes if that is meant.",
                returncode=WRONG_USE,
            )
        sql_backups().restore(
            options["name"],
            run.now,
            report,
            before_live=_up_to_date(run),
            stale_lock=LOCK,
            dry_run=run.dry_run,
            migrate=options["migrate"],
            keep_old=options["keep_old"],
            expired=options["expired"],
        )

    def _restore_table(self, run: Run, report: RestoreReport, options: dict[str, Any]) -> None:
        def wait() -> None:
            run.step()
            time.sleep(POLL_SECONDS)

        table_backups().restore(
            options["to_table"],
            options["at"],
            report,
            wait=wait,
            before_live=_up_to_date(run),
            dry_run=run.dry_run,
        )
        if not run.dry_run:
            self.stderr.write(f"The table is ready: set DYNAMODB_TABLE={report.name} and restart.")


def _up_to_date(run: Run) -> BeforeLive:
    return lambda restored: bring_up_to_date(restored, policy_of(run))


def _moment_or_latest(text: str) -> datetime | None:
    if text == LATEST:
        return None
    try:
        return moment(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, or: {LATEST}") from None
