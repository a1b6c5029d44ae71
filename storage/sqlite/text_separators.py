"""Deleted words that FTS5 keeps where its pages begin.

A segment of FTS5 has pages of words (`_data`), and for each page a *separator* by which it is found
(`_idx`): the beginning of the first word of the page, as it was when the page was written. When
that word is deleted, `secure-delete` takes it from the page but leaves the separator, as long as
other words are on the page. Here such a separator gives way to the first word that is there now,
which is between the same two pages.
https://sqlite.org/fts5.html#fts5_data_structures
"""
# ruff: noqa: S608  (only numbers become part of statements)

import sqlite3
from collections.abc import Callable

from storage.sqlite.text_damage import damage
from storage.sqlite.text_file import IndexFile

PAGES_AT_ONCE = 500

WAIT_SECONDS = 20.0
"""How long it waits for a pass of the indexer."""

_AFTER_SEGMENT = 37
"""Bits of the id of a page behind the number of its segment."""

_Place = tuple[int, bytes]
"""A segment and a separator, by which separators are in order."""


def replace_separators(file: IndexFile, check_time: Callable[[], None]) -> None:
    """Leave no word in separators that the index has not. Changes up to PAGES_AT_ONCE at a time.

    Raises whatever `check_time` raises, and sqlite3.Error.
    """
    with file.reading() as contents:
        numbers = contents.parts.numbers() if contents else []
    for number in numbers:
        place: _Place | None = (0, b"")
        while place is not None:
            check_time()
            place = _replaced_after(file, number, place)


def _replaced_after(file: IndexFile, number: int, place: _Place) -> _Place | None:
    """Replace the next separators of a part. Returns the last one that was looked at, if any."""
    with file.reading() as contents:
        if contents is None or number not in contents.parts.numbers():
            return None
        last, stale = _looked_at(contents.connection, number, place)
    if stale:
        with file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
            if number not in contents.parts.numbers():
                return None
            last, stale = _looked_at(contents.connection, number, place)
            contents.connection.executemany(
                f"UPDATE part_{number}_idx SET term = ? WHERE segid = ? AND term = ?", stale
            )
    return last


def _looked_at(
    connection: sqlite3.Connection, number: int, place: _Place
) -> tuple[_Place | None, list[tuple[bytes, int, bytes]]]:
    """The last of the next separators, and for each stale one its new word and its place."""
    rows = connection.execute(
        f"SELECT segid, term, block FROM part_{number}_idx JOIN part_{number}_data"
        f" ON id = (segid << {_AFTER_SEGMENT}) + (pgno >> 1)"
        " WHERE (segid, term) > (?, ?) AND term <> x'' ORDER BY segid, term LIMIT ?",
        [*place, PAGES_AT_ONCE],
    )
    last, stale = None, []
    for segment, term, page in rows:
        last = segment, term
        first = _first_word(page)
        if not first.startswith(term):
            stale.append((first, segment, term))
    return last, stale


def _first_word(page: bytes) -> bytes:
    """The first word of a page. Without words, only the first page of a segment has a separator."""
    footer = int.from_bytes(page[2:4])
    if not 4 < footer < len(page):
        raise damage("a page of the search index has no words")
    try:
        offset, _ = _varint(page, footer)
        length, begin = _varint(page, offset)
    except IndexError:
        raise damage("a page of the search index ends within a number") from None
    return page[begin : begin + length]


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of SQLite's, and the offset behind it."""
    value = 0
    while content[at] & 0x80:
        value = value << 7 | content[at] & 0x7F
        at += 1
    return value << 7 | content[at], at + 1
