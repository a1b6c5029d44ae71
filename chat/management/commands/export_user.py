"""`manage.py export_user USER_ID --output FOLDER`: export all data of a user, from all tiers."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance.export import exporting
from chat.maintenance.export.folder import Exported, export, verify
from chat.maintenance.runs import Run
from chat.management import arguments
from chat.management.base import WRONG_USE, MaintenanceCommand
from storage.interface import Storage


class Command(MaintenanceCommand):
    """An export that was stopped is continued by the next run with the same folder."""

    report_class = Exported
    help = (
        "Export all data of a user to a folder. interactions.jsonl.zst has the interactions. "
        "manifest.json has its SHA-256, and is written when the export is complete."
    )
    batch_size = exporting.PAGE
    locks = False  # it only reads, and gets each interaction once even while other runs move them

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("user_id", nargs="?", type=arguments.user, help="the id of the user")
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FOLDER",
            help="the folder to write to, which is for this export alone",
        )
        parser.add_argument(
            "--force", action="store_true", help="delete the export in the folder and start again"
        )
        parser.add_argument(
            "--verify",
            type=Path,
            metavar="FOLDER",
            help="only check that the export in this folder matches its manifest",
        )

    def work(self, storage: Storage, run: Run, report: Exported, options: dict[str, Any]) -> None:
        user_id, output = options["user_id"], options["output"]
        if options["verify"] is not None:
            if user_id is not None or output is not None or options["force"]:
                raise CommandError(
                    "--verify takes a folder and nothing else.", returncode=WRONG_USE
                )
            verify(options["verify"], report)
        elif user_id is None or (output is None and not run.dry_run):
            raise CommandError("Name the user, and --output FOLDER.", returncode=WRONG_USE)
        else:
            export(storage, user_id, output, run, report, force=options["force"])
