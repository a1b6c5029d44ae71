"""What scrubbing has to know of SQLite's files: https://sqlite.org/fileformat2.html."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEADER_BYTES = 100
MAGIC = b"SQLite format 3\0"
WAL_VERSION = 2
"""The number for reading and for writing in the header of a database in WAL mode."""

PAGES_MAX = 2**24 - 1
"""Up to here an overflow page begins with a zero, and a page of a tree with its type: the first
byte tells them apart.
"""

LOCK_BYTE = 2**30
"""No page is kept where this byte is."""

INTERIOR, LEAVES = (2, 5), (10, 13)
"""The types of the pages of trees."""

_TREE_PAGE = struct.Struct(">BHHH")
"""Type, first free block, number of cells, and where their contents begin."""

_LOG_HEADER = struct.Struct(">IIIIQQ")
_FRAME_HEADER = struct.Struct(">IIQQ")
_LOG_MAGIC = (0x377F0682, 0x377F0683)


class UnknownFormat(Exception):
    """The file is not as this code expects; the message says how."""


@dataclass(frozen=True)
class Layout:
    """Where in a database file there are pages of trees."""

    page_size: int
    usable: int
    """Bytes of a page without those that are reserved for extensions."""
    pages: int
    has_pointer_map: bool

    @classmethod
    def of(cls, header: bytes, file_bytes: int) -> "Layout":
        """Returns the layout by the first HEADER_BYTES of a file. Raises UnknownFormat."""
        if not header.startswith(MAGIC) or header[18:20] != bytes([WAL_VERSION] * 2):
            raise UnknownFormat("it is not a SQLite database in WAL mode")
        (size,) = struct.unpack_from(">H", header, 16)
        page_size = 65536 if size == 1 else size
        (largest_root,) = struct.unpack_from(">I", header, 52)
        (is_incremental,) = struct.unpack_from(">I", header, 64)
        if largest_root and not is_incremental:
            raise UnknownFormat(
                "its auto_vacuum is FULL, and pages move with every commit: set it to INCREMENTAL"
            )
        pages = file_bytes // page_size
        if pages > PAGES_MAX:
            raise UnknownFormat(f"it has {pages} pages, more than {PAGES_MAX}")
        return cls(page_size, page_size - header[20], pages, bool(largest_root))

    def skipped(self) -> set[int]:
        """The numbers of the pages that are not to be read as pages of trees.

        Page 1 has the schema, and nothing of users. Pages of the pointer map have entries that
        begin with small numbers, as pages of trees do.
        """
        lock_page = LOCK_BYTE // self.page_size + 1
        found = {1, lock_page}
        if self.has_pointer_map:
            step = self.usable // 5 + 1
            maps = range(2, self.pages + 1, step)
            found.update(number + 1 if number == lock_page else number for number in maps)
        return found

    def gap(self, content: bytes, start: int = 0) -> tuple[int, int] | None:
        """Where the unallocated part of the page at `start` of `content` begins and ends.

        It lies between the pointers to the cells and their contents, and SQLite never reads it.
        Offsets in `content`. Empty for a page that is not of a tree; None if the header of the
        page contradicts itself, as one may that is being written.
        """
        kind, _, cells, contents = _TREE_PAGE.unpack_from(content, start)
        if kind in LEAVES:
            begins = 8 + 2 * cells
        elif kind in INTERIOR:
            begins = 12 + 2 * cells
        else:
            return start, start
        ends = contents or 65536
        if not begins <= ends <= self.usable:
            return None
        return start + begins, start + ends


def logged_pages(log: Path) -> Iterator[int]:
    """Yields the numbers of the pages that a write-ahead log has, also those of a rolled back or
    interrupted transaction: whatever a recovery might copy into the database.

    Hold SQLite's write lock, so that the log does not change meanwhile.
    """
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return
    with file:
        header = file.read(32)
        if len(header) < _LOG_HEADER.size:
            return
        magic, _, page_size, _, salts, _ = _LOG_HEADER.unpack(header)
        if magic not in _LOG_MAGIC:
            return
        while len(frame := file.read(24)) == _FRAME_HEADER.size:
            number, _, frame_salts, _ = _FRAME_HEADER.unpack(frame)
            if frame_salts != salts:  # of an earlier log
                return
            yield number
            file.seek(page_size, 1)
