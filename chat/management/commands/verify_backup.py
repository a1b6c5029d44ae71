"""`manage.py verify_backup`: compare all files of a backup with its manifest."""

from argparse import ArgumentParser
from typing import Any

from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand
from storage.backups.base import VerificationReport
from storage.backups.folder import LATEST
from storage.backups.selection import sql_backups
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Exit status 1: a backup is damaged, or there is none. Standard error names the files."""

    report_class = VerificationReport
    is_remembered = True
    help = "Verify a backup in BACKUP_DIR, or all of them."
    locks = False  # it changes nothing

    def add_options(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("name", nargs="?", default=LATEST, help="its name; default: latest")
        which.add_argument("--all", action="store_true", help="every backup")

    def work(
        self, storage: Storage, run: Run, report: VerificationReport, options: dict[str, Any]
    ) -> None:
        wanted = None if options["all"] else options["name"]
        sql_backups().verify(wanted, report, run.step, run.check_time)
