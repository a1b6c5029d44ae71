"""Leaving no byte of deleted rows in the files of a database, while it is in use.

# Note [What secure_delete leaves]

`secure_delete` overwrites a deleted row, its index entries and freed pages with zeros. But when
SQLite divides a full page, it writes what stays into the page anew, and copies of what has moved
remain in the unallocated part between the pointers to the cells and the cells themselves. No
deletion overwrites these: about one per few thousand rows, with an id, a user or text.

# Note [Zeros beside SQLite]

SQLite never reads the unallocated part of a page, so zeros can be written there, in place. What has
to be ruled out is that an older copy of the page, with the old bytes, is written over them:

- by a checkpoint or a recovery, from the log: pages that are in the log are left for later;
- by a writer that has the page in memory: zeros are written under SQLite's write lock, and the
  transaction ends with a commit, so every other connection drops its cache before it writes again.
  The connection of that transaction has only page 1 in memory, which is never scrubbed.

Decision 0032 goes through all that can come between, and through kills and power loss.

# Note [One pass]

A pass empties the log and then looks at every page of the file once. Old bytes stay where they are
in a page until they are overwritten, so whenever a page is read, without any lock, they are seen.
What is written later comes from rows that are there. Pages change places in files with a pointer
map only, and in two cases: when free space is returned (`space.reclaim`, which ends the pass), and
when tables are made or dropped (the version of the schema, by which a pass is begun anew). Last,
the log is emptied again.
"""

import os
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from storage.exceptions import StorageUnavailable
from storage.sqlite import database_file
from storage.sqlite.checkpoints import empty_log
from storage.sqlite.file_format import HEADER_BYTES, Layout, UnknownFormat, logged_pages

CHUNK_BYTES = 1024 * 1024

PAGES_AT_ONCE = 500
"""Pages from which on they are overwritten, under one write lock, which takes about 10 ms."""

CHUNKS_AT_ONCE = 64
"""Chunks after which the log is emptied if it has pages to overwrite, and progress is noted."""

RETRY_SECONDS = 20.0
"""How long it is tried to overwrite pages that are in the log."""

PAUSE_SECONDS = 0.05

BYTES_PER_SECOND = 100_000_000
"""How fast the file is read, at least: from a disk."""

CheckTime = Callable[[], None]


@dataclass(frozen=True)
class Progress:
    """How far a pass is."""

    began: datetime
    next_page: int
    schema_version: int
    """0 where pages keep their places whatever tables are made or dropped."""


class ScrubbedFile(ABC):
    """A file of SQLite, and where the progress of its pass is kept."""

    path: str
    remedy: str
    """What to do if the file cannot be scrubbed."""

    @abstractmethod
    def value(self, pragma: str) -> int:
        """The value of a pragma."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[object]:
        """In this block it is the turn of this thread to write."""

    @abstractmethod
    def is_emptied(self) -> bool:
        """Try once to empty the log. Returns whether nobody was in the way."""

    def prepare(self, check_time: CheckTime) -> None:
        """Called when a pass begins: remove what deletions have left in rows that are there."""

    @abstractmethod
    def progress(self) -> Progress | None:
        """What was noted last, if anything."""

    @abstractmethod
    def note(self, progress: Progress) -> None:
        """Keep the progress of the pass."""

    @abstractmethod
    def end(self, progress: Progress) -> None:
        """The pass is complete. Must commit, which makes the end of the old log durable."""


def scrub(file: ScrubbedFile, since: datetime, check_time: CheckTime) -> datetime:
    """Complete a pass that began at `since` or later. See Note [One pass].

    Returns when it began: what was deleted before then has left no byte in the file and its log.
    Goes on with the pass of an earlier call, if that began late enough. Raises StorageUnavailable
    if a reader keeps the log or the file has a format that is not known, and whatever `check_time`
    raises; the next call goes on.
    """
    try:
        return _Pass(file, check_time).complete(since)
    except OSError as error:
        raise StorageUnavailable(
            f"{file.path} could not be read or overwritten: {error.strerror}."
        ) from error


@dataclass(frozen=True)
class _Pass:
    file: ScrubbedFile
    check_time: CheckTime

    def complete(self, since: datetime) -> datetime:
        progress = self._resumed(since) or self._begun(since)
        layout = self._layout()
        skipped = layout.skipped()
        step = CHUNK_BYTES // layout.page_size
        dirty: list[int] = []
        for chunk, first in enumerate(range(progress.next_page, layout.pages + 1, step), start=1):
            self.check_time()
            pages = range(first, min(first + step, layout.pages + 1))
            dirty += [number for number in self._dirty(layout, pages) if number not in skipped]
            if len(dirty) >= PAGES_AT_ONCE:
                dirty = self._overwrite(layout, dirty)
            if chunk % CHUNKS_AT_ONCE == 0:
                self._clean(layout, dirty)
                self.file.note(replace(progress, next_page=first + step))
                dirty = []
        self._clean(layout, dirty)
        self.file.note(replace(progress, next_page=layout.pages + 1))
        self._empty_log()
        if self._schema_version(layout) != progress.schema_version:
            raise StorageUnavailable("Tables were made or dropped meanwhile. Try again.")
        self.file.end(replace(progress, next_page=layout.pages + 1))
        return progress.began

    def _resumed(self, since: datetime) -> Progress | None:
        progress = self.file.progress()
        if progress is None or not since <= progress.began <= datetime.now(UTC):
            return None
        return progress if progress.schema_version == self._schema_version(self._layout()) else None

    def _begun(self, since: datetime) -> Progress:
        began = max(datetime.now(UTC), since)
        self.file.prepare(self.check_time)
        self._empty_log()  # what is only there would not be seen
        progress = Progress(began, 1, self._schema_version(self._layout()))
        self.file.note(progress)
        return progress

    def _empty_log(self) -> None:
        empty_log(self.file.is_emptied, self.check_time)

    def _schema_version(self, layout: Layout) -> int:
        return self.file.value("schema_version") if layout.has_pointer_map else 0

    def _layout(self) -> Layout:
        descriptor = database_file.descriptor(self.file.path)
        header = os.pread(descriptor, HEADER_BYTES, 0)
        try:
            return Layout.of(header, os.fstat(descriptor).st_size)
        except UnknownFormat as error:
            raise StorageUnavailable(
                f"The bytes of what was deleted cannot be overwritten in {self.file.path}: "
                f"{error}. {self.file.remedy}"
            ) from None

    def _dirty(self, layout: Layout, pages: range) -> list[int]:
        """The pages among these whose unallocated part is not all zeros."""
        offset = (pages.start - 1) * layout.page_size
        content = os.pread(
            database_file.descriptor(self.file.path), len(pages) * layout.page_size, offset
        )
        zeros = bytes(layout.page_size)
        found = []
        for index, number in enumerate(pages[: len(content) // layout.page_size]):
            gap = layout.gap(content, index * layout.page_size)
            is_clean = gap is not None and content[slice(*gap)] == zeros[: gap[1] - gap[0]]
            if not is_clean:
                found.append(number)
        return found

    def _clean(self, layout: Layout, pages: list[int]) -> None:
        """Overwrite the unallocated parts of these pages. Waits for those that are in the log."""
        left = self._overwrite(layout, pages)
        deadline = time.monotonic() + RETRY_SECONDS
        while left:
            self.check_time()
            if time.monotonic() >= deadline:
                raise StorageUnavailable(
                    "The bytes of what was deleted cannot be overwritten while a transaction reads "
                    "from the write-ahead log. Try again."
                )
            if not self.file.is_emptied():
                time.sleep(PAUSE_SECONDS)
            left = self._overwrite(layout, left)

    def _overwrite(self, layout: Layout, pages: list[int]) -> list[int]:
        """Overwrite what can be now. Returns the pages that are in the log."""
        if not pages:
            return []
        descriptor = database_file.descriptor(self.file.path)
        with self.file.writing(), closing(_connect(self.file.path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            logged = set(logged_pages(Path(f"{os.path.realpath(self.file.path)}-wal")))
            for number in pages:
                if number not in logged:
                    _zero_gap(descriptor, layout, number)
            # Any change will do: it makes all others drop what they have in memory.
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        os.fsync(descriptor)
        return [number for number in pages if number in logged]


def _connect(database: str) -> sqlite3.Connection:
    """A connection that has nothing in memory but page 1, and makes no checkpoints by itself."""
    address = f"{Path(os.path.realpath(database)).as_uri()}?mode=rw"  # does not make one
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=20)
    connection.execute("PRAGMA user_version").fetchall()  # opens the log
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def _zero_gap(descriptor: int, layout: Layout, number: int) -> None:
    offset = (number - 1) * layout.page_size
    content = os.pread(descriptor, layout.page_size, offset)
    gap = layout.gap(content) if len(content) == layout.page_size else None
    if gap is not None:  # else it is damaged, or not there any more
        os.pwrite(descriptor, bytes(gap[1] - gap[0]), offset + gap[0])
