"""`manage.py export_user USER_ID --output FOLDER`: everything about a person, hot and cold."""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance.export import exporting
from chat.maintenance.export import folder as export_folder
from chat.maintenance.export.folder import Exported
from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand
from storage import limits
from storage.interface import Storage

WRONG_USE = 2


class Command(MaintenanceCommand):
    """An export that was stopped goes on at the next run with the same folder."""

    help = (
        "Export everything about a user: interactions.jsonl.zst and manifest.json, which is there "
        "once the export is complete. `sha256sum` of the first is in the second."
    )
    batch_size = exporting.PAGE
    locks = False  # it only reads, and sees each interaction once, whatever other runs move

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("user_id", nargs="?", type=_user, help="whose export")
        parser.add_argument(
            "--output", type=Path, metavar="FOLDER", help="a folder for this export alone"
        )
        parser.add_argument(
            "--force", action="store_true", help="begin anew, and delete the export that is there"
        )
        parser.add_argument(
            "--verify", type=Path, metavar="FOLDER", help="compare an export with its manifest"
        )

    def new_report(self) -> Exported:
        return Exported()

    def work(self, storage: Storage, run: Run, report: Exported, options: dict[str, Any]) -> None:
        user_id, output = options["user_id"], options["output"]
        if options["verify"] is not None:
            if user_id is not None or output is not None or options["force"]:
                raise CommandError("--verify takes a folder and no more.", returncode=WRONG_USE)
            export_folder.verify(options["verify"], report)
        elif user_id is None or (output is None and not run.dry_run):
            raise CommandError("Say whose export, and --output FOLDER.", returncode=WRONG_USE)
        else:
            export_folder.export(
                storage, user_id, output or Path(), run, report, force=options["force"]
            )


def _user(text: str) -> str:
    if problem := limits.identifier_violation(text):
        raise ArgumentTypeError(f"the user id {problem}")
    return text
