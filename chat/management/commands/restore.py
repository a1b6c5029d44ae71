"""`manage.py restore`: restore a backup of the SQL database, or a DynamoDB table as it was."""

import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance.erasure.after_restore import bring_up_to_date
from chat.maintenance.runs import LOCK, Run
from chat.management import arguments
from chat.management.base import WRONG_USE, MaintenanceCommand, policy_of
from storage.backups.base import BeforeLive, RestoreReport
from storage.backups.folder import LATEST
from storage.backups.selection import sql_backups, table_backups
from storage.interface import Storage

POLL_SECONDS = 5.0


class Command(MaintenanceCommand):
    """Exit status 1: nothing was restored. 3: DynamoDB is not finished; run it again to go on."""

    report_class = RestoreReport
    help = (
        "Replace the SQL database by a backup. All servers and other commands must have ended. "
        "With --to-table, create a DynamoDB table with what DYNAMODB_TABLE had at some time."
    )
    locks = False  # the lock is in the database that is replaced, and nobody else has that open
    requires_system_checks = []  # it must work when they fail

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="the name of a backup, or latest")
        parser.add_argument(
            "--yes", action="store_true", help="confirm that the database is replaced"
        )
        parser.add_argument(
            "--migrate",
            action="store_true",
            help="apply migrations to a backup of an older version",
        )
        parser.add_argument(
            "--keep-old", action="store_true", help="keep the replaced database beside the new one"
        )
        parser.add_argument(
            "--expired", action="store_true", help="allow a backup that is past BACKUP_KEEP_DAYS"
        )
        parser.add_argument("--to-table", metavar="TABLE", help="the table to create")
        parser.add_argument(
            "--at",
            type=_moment_or_latest,
            metavar="TIME",
            help="the time that the table is restored to, or latest; default: latest",
        )

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
                "This replaces the database, and loses what was written since the backup. "
                "Add --yes to confirm.",
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
        return arguments.moment(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, or: {LATEST}") from None
