"""Interactions as lines of JSON, in files that may be compressed. For import and export."""

import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from storage.compat import zstd
from storage.models import ChatInteraction

LINE_LIMIT = 4 * 1024 * 1024
"""The most bytes in a line. The largest record needs 2.4 MB, with every character escaped."""

Time = Annotated[datetime, Meta(tz=True)]


class BadLine(ValueError):
    """A line that is not a valid record. The message says why."""


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a file. The id is required, so that importing a file again changes nothing."""

    interaction_id: str
    user_id: str
    message: str
    model_used: str
    created_at: Time
    response: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    updated_at: Time | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


_DECODER = msgspec.json.Decoder(Record)


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
        raise BadLine(f"{error}.") from None
    interaction = _interaction(record)
    if problems := interaction.violations():
        raise BadLine("; ".join(f"{name} {text}" for name, text in problems.items()))
    return interaction


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file. Those that are too long are cut at LINE_LIMIT + 1 bytes."""
    while line := file.readline(LINE_LIMIT + 1):
        rest = line
        while not rest.endswith(b"\n") and len(rest) > LINE_LIMIT:
            rest = file.readline(LINE_LIMIT + 1)
        yield line


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
            with gzip.GzipFile(fileobj=raw) as file:
                yield io.BufferedReader(file), raw
        elif name.endswith(".zst"):
            with zstd.ZstdFile(raw) as file:
                yield io.BufferedReader(file), raw
        else:
            yield raw, raw


@contextmanager
def opened_for_writing(name: str) -> Iterator[IO[bytes]]:
    """A file to write lines to. It gets its name when it is complete; `-` is standard output."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = Path(f"{name}.partial")
    try:
        with partial.open("wb") as raw, _compressed(name, raw) as file:
            yield file
        partial.replace(name)
    finally:
        partial.unlink(missing_ok=True)


def _compressed(name: str, raw: IO[bytes]) -> Any:
    if name.endswith(".gz"):
        return gzip.GzipFile(filename="", fileobj=raw, mode="wb")
    if name.endswith(".zst"):
        checksum: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
        return zstd.ZstdFile(raw, "wb", options=checksum)
    return io.BufferedWriter(raw)


def _interaction(record: Record) -> ChatInteraction:
    updated_at = record.updated_at
    return ChatInteraction(
        record.interaction_id,
        record.user_id,
        record.message,
        record.response,
        record.model_used,
        record.input_tokens,
        record.output_tokens,
        record.created_at,
        record.created_at if updated_at is UNSET else updated_at,
    )
