"""`manage.py verify_backup`: compare all files of a backup with its manifest."""

from argparse import ArgumentParser
from typing import Any

from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand
from storage.backups import backups
from storage.backups.backups import Verified
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Exit status 1: a backup is damaged, or there is none. Standard error names the files."""

    help = "Verify a backup in BACKUP_DIR, or all of them."
    locks = False  # it changes nothing

    def add_options(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "name", nargs="?", default=backups.LATEST, help="its name; default: latest"
        )
        which.add_argument("--all", action="store_true", help="every backup")

    def new_report(self) -> Verified:
        return Verified()

    def work(self, storage: Storage, run: Run, report: Verified, options: dict[str, Any]) -> None:
        wanted = backups.ALL if options["all"] else options["name"]
        backups.verify(wanted, report, step=run.step)
