"""`manage.py restore`: a backup in the place of the SQL database, or a table as it once was."""

import json
import time
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from storage.exceptions import StorageError
from storage.lifecycle import backups

POLL_SECONDS = 5.0
TIME_IS_UP = 3


class Command(BaseCommand):
    """Prints one line of JSON. Exit status 1: nothing was restored; 3: run it again to go on."""

    help = (
        "Put a backup in the place of the SQL database; all servers and commands must have ended. "
        "With --to-table, make a DynamoDB table as that of DYNAMODB_TABLE was."
    )
    requires_system_checks = []  # it is what puts things right

    def add_arguments(self, parser: ArgumentParser) -> None:
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
        parser.add_argument("--to-table", metavar="NAME", help="the table to make")
        parser.add_argument(
            "--at",
            type=_time,
            help="the time that the table is restored to, such as 2026-11-22T09:30:00Z, or: latest",
        )
        parser.add_argument(
            "--max-seconds", type=float, help="stop to wait for DynamoDB; run it again to go on"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if (options["name"] is None) == (options["to_table"] is None):
            raise CommandError("Name a backup, or a table with --to-table.", returncode=2)
        report = backups.Restored()
        try:
            if options["to_table"]:
                self._restore_table(options, report)
            else:
                self._restore_database(options, report)
        except (StorageError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps({"command": "restore"} | asdict(report)))

    def _restore_database(self, options: dict[str, Any], report: backups.Restored) -> None:
        if not options["yes"]:
            raise CommandError(
                "This replaces the database, and with it what was written since the backup. "
                "Add --yes if that is meant.",
                returncode=2,
            )
        backups.restore(
            options["name"],
            datetime.now(UTC),
            report,
            migrate=options["migrate"],
            keep_old=options["keep_old"],
            expired=options["expired"],
        )

    def _restore_table(self, options: dict[str, Any], report: backups.Restored) -> None:
        start = time.monotonic()

        def wait() -> None:
            limit = options["max_seconds"]
            if limit is not None and time.monotonic() - start >= limit:
                raise CommandError("The time is up; run it again to go on.", returncode=TIME_IS_UP)
            time.sleep(POLL_SECONDS)

        backups.restore_table(options["to_table"], options["at"], report, wait=wait)
        self.stderr.write(f"The table is ready. Set DYNAMODB_TABLE={report.name} and restart.")


def _time(text: str) -> datetime | None:
    time = None if text == backups.LATEST else datetime.fromisoformat(text)
    if time is not None and time.tzinfo is None:
        raise ValueError
    return time
