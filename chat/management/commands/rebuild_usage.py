"""`manage.py rebuild_usage`: count again what was used, or compare it with a full count."""

from argparse import ArgumentParser
from typing import Any

from chat.maintenance import usage
from chat.maintenance.runs import Run
from chat.maintenance.usage import Rebuilt, UsageDiffers
from chat.management.base import MaintenanceCommand
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Reads everything, day by day; writers go on. Exit status 1 if --verify finds a difference."""

    report_class = Rebuilt
    help = (
        "Count the usage of each day again, and correct its roll-ups. Stopped, it goes on where it "
        "was. It reads all interactions and the archive."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--verify",
            action="store_true",
            help="change nothing; print a line for each number that a full count does not confirm, "
            "with what would have to be added",
        )

    def work(self, storage: Storage, run: Run, report: Rebuilt, options: dict[str, Any]) -> None:
        if not options["verify"]:
            usage.rebuild(storage, run, report)
            return
        differences = 0
        for line in usage.verify(storage, run, report):
            differences += 1
            self.stderr.write(line)
        if differences:
            raise UsageDiffers(
                f"{differences} differences between the usage and a full count. To correct it: "
                "rebuild_usage"
            )
