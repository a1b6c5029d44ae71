"""`manage.py verify_archive`: read the whole archive and compare it with its checksums."""

from argparse import ArgumentParser
from typing import Any

from chat.maintenance import verification
from chat.maintenance.identity import check_archive
from chat.maintenance.runs import Run
from chat.maintenance.verification import Verified
from chat.management.base import MaintenanceCommand, policy_of
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Exit status 1: a file is damaged, and standard error names it. 3: the next run goes on."""

    report_class = Verified
    is_remembered = True
    help = (
        "Verify the archive: the checksums of all files, and that each row has a stub in the "
        "database. With --max-seconds it takes several runs; each one goes on where the one before "
        "has stopped, and storage_status shows what was found."
    )
    locks = False  # it changes nothing that others use, and may take hours

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--stubs",
            action="store_true",
            help="also look for interactions that the database knows and the archive has lost; on "
            "DynamoDB this reads the whole table",
        )

    def work(self, storage: Storage, run: Run, report: Verified, options: dict[str, Any]) -> None:
        check_archive(storage, adopt=True)
        verification.verify(storage, policy_of(run), run, report, stubs=options["stubs"])
