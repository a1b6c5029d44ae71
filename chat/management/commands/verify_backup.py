"""`manage.py verify_backup`: reads a backup as a whole and compares it with its manifest."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from storage.exceptions import StorageError
from storage.lifecycle import backups


class Command(BaseCommand):
    """Prints a line of JSON for each backup. Exit status 1: one is damaged, or there is none."""

    help = "Verify the latest backup in BACKUP_DIR, another one, or all of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("name", nargs="?", default=backups.LATEST, help="default: latest")
        which.add_argument("--all", action="store_true", help="every backup")

    def handle(self, *args: Any, **options: Any) -> None:
        damaged = False
        try:
            names = backups.names(backups.ALL if options["all"] else options["name"])
            for found in backups.verify(names):
                damaged = damaged or found.problem is not None
                if found.problem is not None:
                    self.stderr.write(found.problem)
                self.stdout.write(json.dumps({"command": "verify_backup"} | found.as_dict()))
        except StorageError as error:
            raise CommandError(str(error)) from error
        if damaged:
            sys.exit(1)
