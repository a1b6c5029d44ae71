"""`manage.py migrate_storage --from local --to cloud`: copy everything to the other backend."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from chat.maintenance.migration import copying
from chat.maintenance.migration.marks import Side
from chat.maintenance.migration.rows import Copied
from chat.maintenance.runs import Run
from chat.management.base import WRONG_USE, MaintenanceCommand, add_wait
from storage.archive.archive import Archive
from storage.interface import Storage
from storage.startup.selection import (
    archive_at,
    is_configured_archive,
    place_named,
    storage_named,
)

NAMES = ("local", "cloud")


class Command(MaintenanceCommand):
    """To continue a run that was stopped, repeat it: it writes only what is missing."""

    report_class = Copied
    help = (
        "Copy all interactions to another backend, which must not be in use yet, and compare the "
        "two. local is the SQLite file, cloud is the DynamoDB table. Run it without ENVIRONMENT. "
        "To continue a run that was stopped, repeat it with the same options. Any other target "
        "that has interactions, such as a finished copy, is refused; with --overwrite it is "
        "brought up to date."
    )
    batch_size = 500
    locks = False  # `work` acquires the locks of both backends

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", choices=NAMES, required=True, help="the backend to copy")
        parser.add_argument("--to", choices=NAMES, required=True, help="the backend to write to")
        parser.add_argument(
            "--from-archive",
            metavar="PLACE",
            help="the archive of the source, if it has one of its own: a folder, or s3://bucket",
        )
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="bring a target that has interactions up to date: replace what differs, and "
            "delete what the source does not have, for good",
        )
        parser.add_argument(
            "--hand-over",
            action="store_true",
            help="the source is no longer used: hand its archive over to the target",
        )
        add_wait(parser)
        parser.add_argument(
            "--even-if-erased",
            action="store_true",
            help="copy interactions, too, whose users were erased after they were created",
        )

    def work(self, storage: Storage, run: Run, report: Copied, options: dict[str, Any]) -> None:
        if options["from"] == options["to"]:
            raise CommandError("--from and --to are the same.", returncode=WRONG_USE)
        try:
            source, target = _side(options["from"]), _side(options["to"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=WRONG_USE) from error
        archive = target.storage.archive
        named = options["from_archive"]
        if named and not is_configured_archive(named):
            archive = _archive(named)
            source = source._replace(storage=storage_named(options["from"], archive))
        else:
            source = source._replace(
                storage=Storage(source.storage.database, source.storage.cache, archive)
            )
        # An archive of both belongs to the source until it is handed over.
        has_its_own = archive is not target.storage.archive
        waits = {name: options[name] for name in ("wait", "max_seconds")}
        with (
            Run(source.storage, dry_run=run.dry_run, **waits) as reading,
            Run(target.storage, dry_run=run.dry_run, confirm=has_its_own, **waits) as writing,
        ):

            def step(done: int) -> None:
                for running in (run, reading, writing):
                    running.step(done)

            copying.copy(
                source,
                target,
                run,
                step,
                report,
                overwrite=options["overwrite"],
                hand_over=options["hand_over"],
                even_if_erased=options["even_if_erased"],
            )


def _side(name: str) -> Side:
    return Side(name, place_named(name), storage_named(name))


def _archive(place: str) -> Archive:
    if not place.startswith("s3://") and not Path(place).is_dir():
        raise CommandError(f"{place} is not a folder.", returncode=WRONG_USE)
    return archive_at(place)
