"""`manage.py import_interactions FILE`: save interactions from lines of JSON."""

import sys
import zlib
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from chat import interchange
from chat.management.interrupts import ctrl_c
from chat.progress import Report, progress
from storage import get_storage
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

    def handle(self, *args: Any, **options: Any) -> None:
        self.counts = dict.fromkeys(["created", "unchanged", "conflict", "bad"], 0)
        try:
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
        if self.counts["bad"] or self.counts["conflict"]:
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
        outcomes = get_storage().create_interactions_sync([interaction for _, interaction in batch])
        for (number, interaction), outcome in zip(batch, outcomes, strict=True):
            self.counts[outcome] += 1
            if outcome is Outcome.CONFLICT:
                self.stderr.write(
                    f"line {number}: interaction_id {interaction.interaction_id} exists with "
                    "other content; it was left as it is."
                )
        batch.clear()
        report(sum(self.counts.values()), share)

    def _summary(self) -> str:
        counts = self.counts
        return (
            f"{counts['created']} created, {counts['unchanged']} unchanged, "
            f"{counts['conflict']} in conflict, {counts['bad']} bad lines."
        )
