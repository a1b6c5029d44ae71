"""`manage.py migrate_storage --from local --to cloud`: all interactions, to the other backend."""

import copy
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from chat.maintenance.migration import copying
from chat.maintenance.migration.handing_over import TargetRun
from chat.maintenance.migration.marks import Side
from chat.maintenance.migration.report import Copied
from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand
from storage.archive.archive import Archive
from storage.interface import Storage
from storage.startup.selection import archive_at, place_named, storage_named

WRONG_USE = 2
NAMES = ("local", "cloud")


class Command(MaintenanceCommand):
    """A run that was stopped is just repeated: it writes only what is missing."""

    help = (
        "Copy all interactions to the other backend, which nobody uses yet, and compare the two. "
        "local is the SQLite file, cloud the DynamoDB table. Run it with ENVIRONMENT unset. A run "
        "that was stopped is repeated as it was. A target that has interactions otherwise, such as "
        "a finished copy, is refused; with --overwrite it is brought up to date."
    )
    batch_size = 500
    locks = False  # `work` takes the locks of both

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", choices=NAMES, required=True, help="what is copied")
        parser.add_argument("--to", choices=NAMES, required=True, help="where to")
        parser.add_argument(
            "--from-archive",
            metavar="PLACE",
            help="what is copied has another archive: its folder, or s3://bucket",
        )
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="bring a target that has interactions up to date: replace what differs, and "
            "delete for good what the source has not",
        )
        parser.add_argument(
            "--hand-over",
            action="store_true",
            help="nobody uses the source any more: the archive belongs to the copy from now on",
        )

    def new_report(self) -> Copied:
        return Copied()

    def work(self, storage: Storage, run: Run, report: Copied, options: dict[str, Any]) -> None:
        if options["from"] == options["to"]:
            raise CommandError("--from and --to are the same.", returncode=WRONG_USE)
        try:
            source, target = _side(options["from"]), _side(options["to"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=WRONG_USE) from error
        archive = target.storage.archive
        if options["from_archive"]:
            archive = _archive(options["from_archive"])
        source = source._replace(storage=_with_archive(source.storage, archive))
        kind = TargetRun if archive is target.storage.archive else Run
        with (
            Run(source.storage, dry_run=run.dry_run) as reading,
            kind(target.storage, dry_run=run.dry_run) as writing,
        ):

            def step(done: int) -> None:
                for each in (run, reading, writing):
                    each.step(done)

            copying.copy(
                source,
                target,
                run,
                step,
                report,
                overwrite=options["overwrite"],
                hand_over=options["hand_over"],
            )


def _side(name: str) -> Side:
    return Side(name, place_named(name), storage_named(name))


def _archive(place: str) -> Archive:
    if not place.startswith("s3://") and not Path(place).is_dir():
        raise CommandError(f"{place} is not a folder.", returncode=WRONG_USE)
    return archive_at(place)


def _with_archive(storage: Storage, archive: Archive) -> Storage:
    """The same storage, with this archive. The one that other code has is left as it is."""
    changed = copy.copy(storage)
    changed.archive = archive
    return changed
