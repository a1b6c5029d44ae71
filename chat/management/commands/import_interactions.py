"""`manage.py import_interactions FILE`: save interactions from lines of JSON."""

import sys
import zlib
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from chat import interchange
from chat.importing import Import, Placed
from chat.management.interrupts import ctrl_c
from chat.progress import progress
from storage import get_storage
from storage.compat import zstd
from storage.exceptions import StorageError


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
        name = options["file"]
        self._bad = 0
        self._saving = Import(get_storage(), self._tell, even_if_erased=options["even_if_erased"])
        try:
            with ctrl_c(), interchange.opened_for_reading(name) as (file, raw):
                self._import(file, raw, name)
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped. {self._summary()} Whole batches are saved; run it again to go on.",
                returncode=130,
            ) from None
        except StorageError as error:
            raise CommandError(f"{error} {self._summary()} Run it again to go on.") from error
        except (OSError, EOFError, zlib.error, zstd.ZstdError) as error:
            raise CommandError(f"{name}: {error}. {self._summary()}") from error
        self.stdout.write(self._summary())
        counts = self._saving.counts
        if self._bad or counts["conflict"] or counts["erased"]:
            sys.exit(1)

    def _import(self, file: IO[bytes], raw: IO[bytes], name: str) -> None:
        size = Path(name).stat().st_size if Path(name).is_file() else 0
        with progress("importing") as report:
            for _ in self._saving.steps(self._parsed(file)):
                report(self._count(), raw.tell() / size if size else None)
            report(self._count(), 1.0)

    def _parsed(self, file: IO[bytes]) -> Iterator[Placed]:
        for number, line in enumerate(interchange.lines(file), start=1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", interchange.parse(line)
            except interchange.BadLine as error:
                self._bad += 1
                self._tell(f"line {number}", str(error))

    def _tell(self, place: str, problem: str) -> None:
        self.stderr.write(f"{place}: {problem}")

    def _count(self) -> int:
        return self._saving.counts.total() + self._bad

    def _summary(self) -> str:
        counts = self._saving.counts
        erased = f", {counts['erased']} of erased users left out" if counts["erased"] else ""
        return (
            f"{counts['created']} created, {counts['unchanged']} unchanged, "
            f"{counts['conflict']} in conflict, {self._bad} bad lines{erased}."
        )
