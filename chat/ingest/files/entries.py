"""Reads the values in a file of JSON: an array, one value a line, or values over several lines.

Files may be larger than memory; no value may be larger than ENTRY_LIMIT.
"""

import codecs
import io
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import accumulate
from typing import IO, Any, cast

import ijson

from chat.ingest.calls import LeftOut
from chat.ingest.json_records import BrokenFile, decoded
from chat.ingest.reasons import Reason

ENTRY_LIMIT = 64 * 1024 * 1024
"""The most bytes in a value. Requests with images have some millions."""

DEPTH_LIMIT = 500
"""The most objects and arrays in one another. No tool's export is deeper, and what is costs more to
read than it is worth."""

DIGIT_LIMIT = 300
"""The most digits in a row of a number: fewer than Python may read of an integer."""

_BUFFER = 256 * 1024
_SPREAD = re.compile(rb"\{[ \t]*\r?\n")
"""How an object begins that goes on in the next line."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|(?P<cut>\\?)\Z)', re.DOTALL)
"""A string, or the beginning of one that goes on in what is read next."""
_BRACKET = re.compile(rb"[\[\]{}]")
_DIGITS = re.compile(rb"\d{%d}" % (DIGIT_LIMIT + 1))
_LAST_DIGITS = re.compile(rb"\d*\Z")

Entry = tuple[str, Any]
"""A value, and its place in the file."""


def entries(file: IO[bytes], pages: str = "") -> Iterator[Entry | LeftOut]:
    """Yields each value with its place in the file, and lines that are no JSON as left out.

    If the file begins with an object whose first name is `pages`, the values are in the array of
    that name, and the same in all objects that follow. Raises BrokenFile: in an array nothing can
    be read after a mistake.
    """
    reader = peekable(file)
    start = skip_to_start(reader)
    if start.startswith(b"["):
        yield from _parsed(reader, "item")
    elif pages and re.match(rb'\{\s*"%s"\s*:\s*\[' % pages.encode(), start):
        yield from _parsed(reader, f"{pages}.item")
    elif _SPREAD.match(start):
        yield from _parsed(reader, "")
    else:
        yield from lines(reader)


def peekable(file: IO[bytes]) -> io.BufferedReader:
    """The same file, of which one can see the next bytes without reading them."""
    if isinstance(file, io.BufferedReader):
        return file
    return io.BufferedReader(cast(io.RawIOBase, file))  # all that it needs is `readinto`


def skip_to_start(reader: io.BufferedReader) -> bytes:
    """Skip a byte order mark and white space. Returns some bytes that come next, unread.

    Raises BrokenFile if the mark is of UTF-16, as Windows PowerShell writes what is sent to a file.
    """
    if reader.peek(2).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BrokenFile("It is UTF-16; convert it to UTF-8, such as with iconv -f UTF-16 -t UTF-8")
    while head := reader.peek(1):
        rest = head.removeprefix(codecs.BOM_UTF8).lstrip()
        reader.read(len(head) - len(rest))
        if rest:
            return rest
    return b""


def lines(file: IO[bytes]) -> Iterator[Entry | LeftOut]:
    """Yields the value in each line that is not blank."""
    number = 0
    while line := file.readline(ENTRY_LIMIT + 1):
        number += 1
        place = f"line {number}"
        if len(line) > ENTRY_LIMIT:
            _skip_line(file, line)
            yield LeftOut(Reason.INVALID, f"It is longer than {ENTRY_LIMIT} bytes.", place)
            continue
        line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        try:
            value = decoded(line)
        except ValueError as error:
            yield LeftOut(Reason.INVALID, str(error), place)
        else:
            yield place, value


def _skip_line(file: IO[bytes], read: bytes) -> None:
    while read and not read.endswith(b"\n"):
        read = file.readline(_BUFFER)


def _parsed(file: IO[bytes], prefix: str) -> Iterator[Entry]:
    """The values under a prefix of ijson."""
    limited = _Limited(file)
    # With use_float, integers would have 64 bits at most.
    found = ijson.items(limited, prefix, multiple_values=True, buf_size=_BUFFER)
    number = 0
    while True:
        try:
            value = next(found)
        except StopIteration:
            return
        except (ijson.JSONError, UnicodeError) as error:
            # What follows the first line quotes the file.
            reason = str(error).partition("\n")[0]
            raise BrokenFile(f"After entry {number} it is not JSON: {reason}") from None
        except ArithmeticError:
            raise BrokenFile(f"After entry {number} it has a number out of range") from None
        number += 1
        limited.restart()
        yield f"entry {number}", _with_floats(value)


def _with_floats(value: Any) -> Any:
    """The same value, with floats for decimals."""
    whole = [value]
    inside: list[Any] = [whole]
    while inside:
        parts = inside.pop()
        for place, part in parts.items() if isinstance(parts, dict) else enumerate(parts):
            if isinstance(part, Decimal):
                parts[place] = float(part)
            elif isinstance(part, dict | list):
                inside.append(part)
    return whole[0]


class _Limited:
    """A file of which only so much is read for one value, and nothing that is nested too deeply, or
    has too many digits.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._read = 0
        self._depth = 0
        self._open = b""
        """How a string begins that has no end yet; its text is left out."""
        self._digits = b""
        """The digits at the end of what was read, of which more may follow."""

    def restart(self) -> None:
        """Begin to count anew: a value is complete."""
        self._read = 0

    def read(self, size: int) -> bytes:
        """The next bytes. Raises BrokenFile if the value is too large."""
        if self._read > ENTRY_LIMIT:
            raise BrokenFile(f"It has an entry of more than {ENTRY_LIMIT} bytes.")
        data = self._file.read(size)
        self._read += len(data)
        self._go_through(data)
        return data

    def _go_through(self, data: bytes) -> None:
        """Follow what is outside of strings. Raises BrokenFile for too many brackets or digits."""
        rest = _STRING.sub(_without_text, self._open + data)
        rest, quote, escape = rest.partition(b'"')
        self._open = quote + escape
        self._count_digits(self._digits + rest, is_open=bool(quote))
        opened = rest.count(b"[") + rest.count(b"{")
        if self._depth + opened > DEPTH_LIMIT and self._deepest(rest) > DEPTH_LIMIT:
            raise BrokenFile(f"It has an entry with more than {DEPTH_LIMIT} levels.")
        self._depth += opened - rest.count(b"]") - rest.count(b"}")

    def _count_digits(self, rest: bytes, *, is_open: bool) -> None:
        if _DIGITS.search(rest):
            raise BrokenFile(f"It has a number of more than {DIGIT_LIMIT} digits.")
        last = _LAST_DIGITS.search(rest[-DIGIT_LIMIT:])
        self._digits = last[0] if last and not is_open else b""

    def _deepest(self, rest: bytes) -> int:
        steps = (1 if bracket in b"[{" else -1 for bracket in _BRACKET.findall(rest))
        return max(accumulate(steps, initial=self._depth))


def _without_text(string: re.Match[bytes]) -> bytes:
    return b"" if string["cut"] is None else b'"' + string["cut"]
