"""`manage.py backup`: a copy of the SQL database while it is in use; for cron."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from storage.exceptions import StorageError
from storage.lifecycle import backups


class Command(BaseCommand):
    """Prints one line of JSON. Exit status 1: something is not backed up."""

    help = (
        "Back the SQL database up into BACKUP_DIR, delete backups that have expired, and in "
        "production make sure that DynamoDB can restore the table."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--now", type=datetime.fromisoformat, help="for tests: the time")

    def handle(self, *args: Any, **options: Any) -> None:
        report = backups.Taken()
        try:
            backups.take(options["now"] or datetime.now(UTC), report)
        except (StorageError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        finally:
            if report.name:
                self.stdout.write(json.dumps({"command": "backup"} | asdict(report)))
