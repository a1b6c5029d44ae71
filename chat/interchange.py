"""Interactions as lines of JSON, in files that may be compressed. For import and export."""

import codecs
import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import UNSET, UnsetType

from chat import output
from chat.times import parse_time
from storage import expiry
from storage.compat import zstd
from storage.models import ChatInteraction

LINE_LIMIT = 48 * 1024 * 1024
"""The most bytes in a line. The largest record needs 48,000,000, with every character escaped."""

GZIP_LEVEL = 6
"""As of `gzip`. Python's default, 9, saves another 0.2 % of real texts at a quarter more time."""


class BadLine(ValueError):
    """A line that is not a valid record. The message says why."""


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a file. The id is required, so that importing a file again changes nothing."""

    interaction_id: str
    user_id: str
    message: str
    model_used: str
    created_at: str
    response: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    updated_at: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


_DECODER = msgspec.json.Decoder(Record)


class _End(msgspec.Struct, forbid_unknown_fields=True):
    """The last line of an export over the API, which says that it is complete."""

    complete: bool
    count: int
    sha256: str


_END = msgspec.json.Decoder(_End)


def parse(line: bytes) -> ChatInteraction:
    """The interaction in a line. Raises BadLine if there is none."""
    if len(line) > LINE_LIMIT:
        raise BadLine(f"longer than {LINE_LIMIT} bytes.")
    try:
        record = _DECODER.decode(line)
    except RecursionError:
        raise BadLine("nested too deeply.") from None
    except UnicodeError:
        raise BadLine("not UTF-8.") from None
    except ValueError as error:
        is_utf_16 = line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise BadLine("UTF-16, not UTF-8." if is_utf_16 else f"{error}.") from None
    interaction, problems = _interaction(record)
    problems = interaction.violations() | problems
    if record.updated_at is UNSET:
        problems.pop("updated_at", None)  # told as created_at
    if "created_at" not in problems and (ahead := expiry.ahead_violation(interaction.created_at)):
        problems["created_at"] = ahead
    if problems:
        raise BadLine("; ".join(f"{name} {text}" for name, text in problems.items()))
    return interaction


def is_end(line: bytes) -> bool:
    """Whether a line, which is no record, is the last one of an export over the API."""
    try:
        _END.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file. Those that are too long are cut at LINE_LIMIT + 1 bytes.

    A byte order mark is left out, also where files were joined into one.
    """
    while line := file.readline(LINE_LIMIT + 1):
        rest = line
        while not rest.endswith(b"\n") and len(rest) > LINE_LIMIT:
            rest = file.readline(LINE_LIMIT + 1)
        yield line.removeprefix(codecs.BOM_UTF8)


@contextmanager
def opened_for_reading(name: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The decompressed file and the file itself, twice the same if it is not compressed.

    The name `-` is standard input.
    """
    if name == "-":
        yield sys.stdin.buffer, sys.stdin.buffer
        return
    with Path(name).open("rb") as raw:
        if name.endswith(".gz"):
            if not raw.peek(1):
                raise EOFError("The file is empty; a .gz file is not, even without any line")
            with gzip.GzipFile(fileobj=raw) as file:
                yield io.BufferedReader(file), raw
        elif name.endswith(".zst"):
            with zstd.ZstdFile(raw) as file:
                yield io.BufferedReader(file), raw
        else:
            yield raw, raw


@contextmanager
def opened_for_writing(name: str) -> Iterator[IO[bytes]]:
    """A file to write lines to; see `output.opened`."""
    with output.opened(name) as raw, _compressed(name, raw) as file:
        yield file


def _compressed(name: str, raw: IO[bytes]) -> Any:
    if name.endswith(".gz"):
        return gzip.GzipFile("", "wb", GZIP_LEVEL, raw)
    if name.endswith(".zst"):
        checksum: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
        return zstd.ZstdFile(raw, "wb", options=checksum)
    return nullcontext(raw)


def _interaction(record: Record) -> tuple[ChatInteraction, dict[str, str]]:
    """The interaction in a record, and what is wrong with its times, by field."""
    values = msgspec.structs.asdict(record)
    if record.updated_at is UNSET:
        values["updated_at"] = record.created_at
    problems = {}
    times: dict[str, datetime] = {}
    for name in ("created_at", "updated_at"):
        text = values[name]
        try:  # most often both are the same
            values[name] = times[text] = times.get(text) or parse_time(text)
        except ValueError as error:
            problems[name] = str(error)
    return ChatInteraction.from_values(values), problems
