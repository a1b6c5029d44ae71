"""`manage.py import_interactions FILE`: save interactions from a file."""

import functools
import sys
import zlib
from argparse import ArgumentParser
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError

from chat import interchange
from chat.importing import Import
from chat.ingest.json_records import BrokenFile
from chat.management import arguments
from chat.management.dry_import import DryStorage
from chat.management.import_formats import Format, OwnForm
from chat.management.interrupts import ctrl_c
from chat.progress import progress
from storage import get_storage
from storage.compat import zstd
from storage.exceptions import StorageError
from storage.interface import Storage

OWN = "own"
TOOLS = ("llm", "litellm", "openai", "langfuse")
"""Each is a module of `chat.ingest.files`."""

WITHOUT_USERS = ("llm",)
"""Formats that never say whose an interaction is."""


class Command(BaseCommand):
    """Saves the interactions in a file. What exists already is not changed."""

    help = "Import interactions from a file of this project or of another tool (.gz, .zst, or -)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the file, or - for standard input")
        parser.add_argument(
            "--format",
            choices=(OWN, *TOOLS),
            default=OWN,
            help="who wrote the file: this project (own, the default), llm logs --json, LiteLLM's "
            "loggers, OpenAI's Batch API, or Langfuse (its observations)",
        )
        parser.add_argument(
            "--user", type=arguments.user, help="whose they are, where the file does not say"
        )
        parser.add_argument(
            "--requests", metavar="FILE", help="with --format openai, the input file of the batch"
        )
        parser.add_argument("--dry-run", action="store_true", help="read everything, write nothing")
        parser.add_argument(
            "--even-if-erased",
            action="store_true",
            help="import interactions, too, whose users were erased after they were created",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        name, self._is_dry = options["file"], options["dry_run"]
        self._format = _format(options, self.stderr.write)
        self._saving = Import(
            _dry(get_storage()) if self._is_dry else get_storage(),
            self._format.tell,
            even_if_erased=options["even_if_erased"],
            is_same=self._format.is_same,
        )
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
        except (OSError, EOFError, zlib.error, zstd.ZstdError, BrokenFile) as error:
            raise CommandError(f"{name}: {error}. {self._summary()}") from error
        self.stdout.write("\n".join([self._summary(), *self._format.summary()[1]]))
        counts = self._saving.counts
        if counts["conflict"] or counts["erased"] or not self._format.is_sound:
            sys.exit(1)

    def _import(self, file: IO[bytes], raw: IO[bytes], name: str) -> None:
        size = Path(name).stat().st_size if Path(name).is_file() else 0
        try:
            with progress("reading" if self._is_dry else "importing") as report:
                for _ in self._saving.steps(self._format.placed(file)):
                    report(self._count(), raw.tell() / size if size else None)
                report(self._count(), 1.0)
        finally:
            self._format.saved(self._saving.counts)

    def _count(self) -> int:
        return self._saving.counts.total() + self._format.left_out

    def _summary(self) -> str:
        counts = self._saving.counts
        erased = f", {counts['erased']} of erased users left out" if counts["erased"] else ""
        dry = " Nothing was written: this was a dry run." if self._is_dry else ""
        return (
            f"{counts['created']} created, {counts['unchanged']} unchanged, "
            f"{counts['conflict']} in conflict, {self._format.summary()[0]}{erased}.{dry}"
        )


def _check(options: dict[str, Any]) -> None:
    """Raise CommandError for options that do not go together."""
    name, user = options["format"], options["user"]
    if name == OWN and user is not None:
        problem = "--user is for files of other tools: a line of our own form names its user."
    elif name in WITHOUT_USERS and user is None:
        problem = f"Say whose interactions they are: --format {name} needs --user USER."
    elif options["requests"] is not None and name != "openai":
        problem = "--requests is for --format openai."
    else:
        return
    raise CommandError(problem, returncode=2)


def _format(options: dict[str, Any], write: Callable[[str], None]) -> Format:
    name = options["format"]
    if name == OWN:
        return OwnForm(write)
    from chat.management.import_of_tool import FormOfTool  # takes a while, and is not always needed

    read = import_module(f"chat.ingest.files.{name}").read
    arguments = {"requests_file": options["requests"]} if options["requests"] else {}
    reader = functools.partial(read, user_id=options["user"], **arguments)
    return FormOfTool(reader, None if options["dry_run"] else f"file:{name}", write)


def _dry(storage: Storage) -> Storage:
    return cast(Storage, DryStorage(storage))
