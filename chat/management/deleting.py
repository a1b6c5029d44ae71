"""The base of the commands that delete what is old, and the refusals that they share."""

from abc import abstractmethod
from argparse import ArgumentParser
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from chat.maintenance import clock
from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand
from storage.exceptions import StorageError, StorageUnavailable
from storage.interface import Storage

PRESENT = timedelta(minutes=1)
"""What --now may differ from the clock by, and still mean the present."""


class NowNotConfirmed(StorageError):
    """--now asks for deletion as of another time than the present."""

    def __init__(self) -> None:
        super().__init__(
            "Nothing was done: --now is not the present, and what is due at that time would be "
            "deleted for good. --dry-run shows it; --yes deletes it."
        )


class DeletingCommand(MaintenanceCommand):
    """Refuses a clock that may be ahead, and another --now than the present, unless --yes."""

    is_remembered = True

    @abstractmethod
    def is_due(self, storage: Storage, run: Run) -> bool:
        """Whether a run would delete anything now."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--yes",
            action="store_true",
            help="delete what is due, although the clock or the amount seems to be wrong, or "
            "although --now is not the present",
        )

    def refuse(self, storage: Storage, run: Run, options: dict[str, Any]) -> None:
        if options["now"] is not None and abs(run.now - datetime.now(UTC)) > PRESENT:
            if not options["yes"] and not run.dry_run:
                raise NowNotConfirmed
            return
        if not options["yes"]:
            self.refuse_unconfirmed(storage, run)
        if not run.dry_run:
            with suppress(StorageUnavailable):  # the work needs the database, too, or does not
                clock.record_run(storage, self.name, run.now, confirmed=options["yes"])

    def refuse_unconfirmed(self, storage: Storage, run: Run) -> None:
        """Raise StorageError if what is due may only be deleted with --yes."""
        clock.check(storage, run.now, lambda: self.is_due(storage, run))
