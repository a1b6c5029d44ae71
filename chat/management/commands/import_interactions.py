"""`manage.py import_interactions FILE`: save interactions from lines of JSON."""

import sys
import zlib
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from chat import interchange
from chat.maintenance.erasure.known import Erasures
from chat.maintenance.identity import check_archive
from chat.management.interrupts import ctrl_c
from chat.progress import Report, progress
from storage import expiry, get_storage
from storage.compat import zstd
from storage.exceptions import StorageError
from storage.models import ChatInteraction
from storage.records.outcomes import Outcome

BATCH_SIZE = 500
"""Interactions saved in one step. An interrupted import has saved whole batches."""


class Command(BaseCommand):
    """Saves the interaction of each line. What exists already is not changed."""

    help = "Import interactions from a file with lines of JSON, which may be .gz or .zst."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the file, or - for standard input")
        parser.add_argument(
            "--even-if-erased",
            action="store_true",
            help="import interactions, too, whose users were erased after they were created",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.counts = dict.fromkeys(["created", "unchanged", "conflict", "bad", "erased"], 0)
        try:
            self._erasures = None if options["even_if_erased"] else _erasures_on_record()
            with ctrl_c(), interchange.opened_for_reading(options["file"]) as (file, raw):
                self._import(file, raw, options["file"])
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped. {self._summary()} Whole batches are saved; run it again to go on.",
                returncode=130,
            ) from None
        except StorageError as error:
            raise CommandError(f"{error} {self._summary()} Run it again to go on.") from error
        except (OSError, EOFError, zlib.error, zstd.ZstdError) as error:
            raise CommandError(f"{options['file']}: {error}. {self._summary()}") from error
        self.stdout.write(self._summary())
        if self.counts["bad"] or self.counts["conflict"] or self.counts["erased"]:
            sys.exit(1)

    def _import(self, file: IO[bytes], raw: IO[bytes], name: str) -> None:
        size = Path(name).stat().st_size if Path(name).is_file() else 0
        batch: list[tuple[int, ChatInteraction]] = []
        with progress("importing") as report:
            for number, line in enumerate(interchange.lines(file), start=1):
                self._parse(number, line, batch)
                if len(batch) == BATCH_SIZE:
                    self._save(batch, report, raw.tell() / size if size else None)
            self._save(batch, report, 1.0)

    def _parse(self, number: int, line: bytes, batch: list[tuple[int, ChatInteraction]]) -> None:
        if not line.strip():
            return
        try:
            batch.append((number, interchange.parse(line)))
        except interchange.BadLine as error:
            self.counts["bad"] += 1
            self.stderr.write(f"line {number}: {error}")

    def _save(
        self, batch: list[tuple[int, ChatInteraction]], report: Report, share: float | None
    ) -> None:
        self._refuse_erased(batch)
        outcomes = get_storage().create_interactions_sync([interaction for _, interaction in batch])
        for (number, interaction), outcome in zip(batch, outcomes, strict=True):
            self.counts[outcome] += 1
            if outcome is Outcome.CONFLICT:
                self.stderr.write(
                    f"line {number}: interaction_id {interaction.interaction_id} exists with "
                    "other content; it was left as it is."
                )
        self._take_back(batch, outcomes)
        batch.clear()
        report(sum(self.counts.values()), share)

    def _refuse_erased(self, batch: list[tuple[int, ChatInteraction]]) -> None:
        """Take out of a batch what was created before its user was erased."""
        kept = []
        for number, interaction in batch:
            if self._erasures is not None and self._erasures.cover(interaction):
                self._tell_erased(number)
            else:
                kept.append((number, interaction))
        batch[:] = kept

    def _take_back(
        self, batch: list[tuple[int, ChatInteraction]], outcomes: Sequence[Outcome]
    ) -> None:
        """Delete what was saved of users whose erasure began, and maybe ended, meanwhile.

        An erasure that is not requested by now will find these rows itself.
        """
        erasures = self._erasures
        if erasures is None or not erasures.look():
            return
        for (number, interaction), outcome in zip(batch, outcomes, strict=True):
            if outcome is Outcome.CREATED and erasures.cover(interaction):
                get_storage().erase_hot([interaction], interaction.user_id)
                self.counts[outcome] -= 1
                self._tell_erased(number)

    def _tell_erased(self, number: int) -> None:
        self.counts["erased"] += 1
        self.stderr.write(
            f"line {number}: its user was erased after it was created; it was left out. If it has "
            "to be imported all the same: --even-if-erased"
        )

    def _summary(self) -> str:
        counts = self.counts
        erased = f", {counts['erased']} of erased users left out" if counts["erased"] else ""
        return (
            f"{counts['created']} created, {counts['unchanged']} unchanged, "
            f"{counts['conflict']} in conflict, {counts['bad']} bad lines{erased}."
        )


def _erasures_on_record() -> Erasures:
    """The erasures on record. Raises ArchiveMismatch if it is not this database's record."""
    storage = get_storage()
    check_archive(storage, adopt=True)
    return Erasures(expiry.cutoff(), storage.archive)
