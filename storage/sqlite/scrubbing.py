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
What is written later comes from rows that are there. Pages change places in two cases only: when
free space is returned (`space.reclaim`, which ends the pass), and when tables are made or dropped
(the version of the schema, by which a pass is begun anew). Last, the log is emptied again.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from django.db import connections

from storage.exceptions import StorageUnavailable
from storage.models import Lock
from storage.sqlite import database_file
from storage.sqlite.checkpoints import empty_log, is_emptied
from storage.sqlite.file_format import HEADER_BYTES, Layout, UnknownFormat, logged_pages
from storage.sqlite.statements import Statements

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

NAME = "scrub"
"""The row in the table of locks that says how far the pass is."""

CheckTime = Callable[[], None]


@dataclass(frozen=True)
class _Progress:
    """How far a pass is."""

    began: datetime
    next_page: int
    schema_version: int


def scrub(statements: Statements, since: datetime, check_time: CheckTime) -> datetime:
    """Complete a pass that began at `since` or later. See Note [One pass].

    Returns when it began: what was deleted before then has left no byte in the files. Goes on with
    the pass of an earlier call, if that began late enough. Raises StorageUnavailable if a reader
    keeps the log or the file has a format that is not known, and whatever `check_time` raises; the
    next call goes on.
    """
    connection: Any = connections[statements.alias]
    if connection.is_in_memory_db():
        return max(datetime.now(UTC), since)
    database = str(connection.settings_dict["NAME"])
    statements.rows("PRAGMA schema_version", {})  # makes the file, and registers as its user
    try:
        return _Pass(statements, database, check_time).complete(since)
    except OSError as error:
        raise StorageUnavailable(
            f"{database} could not be read or overwritten: {error.strerror}."
        ) from error


def seconds(statements: Statements) -> float:
    """How many seconds a pass takes, about, if little has to be overwritten."""
    ((pages,),) = statements.rows("PRAGMA page_count", {})
    ((page_size,),) = statements.rows("PRAGMA page_size", {})
    return float(pages * page_size / BYTES_PER_SECOND)


def end_pass(alias: str) -> None:
    """Let the next pass begin anew. Call it before pages change their places."""
    Lock.objects.using(alias).filter(name=NAME).delete()


@dataclass(frozen=True)
class _Pass:
    statements: Statements
    database: str
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
                self._note(replace(progress, next_page=first + step))
                dirty = []
        self._clean(layout, dirty)
        self._note(replace(progress, next_page=layout.pages + 1))
        empty_log(self.statements, self.check_time)
        if self._schema_version() != progress.schema_version:
            raise StorageUnavailable("Tables were made or dropped meanwhile. Try again.")
        self._end()
        return progress.began

    def _end(self) -> None:
        """The commit also makes the end of the old log durable."""
        if self._keeps_progress:
            end_pass(self.statements.alias)
        else:
            ((version,),) = self.statements.rows("PRAGMA user_version", {})
            self.statements.write(f"PRAGMA user_version = {version}", {})

    @cached_property
    def _keeps_progress(self) -> bool:
        """Whether there are locks. In production the SQL database, which is small, has none."""
        return Lock._meta.db_table in self.statements.tables()

    def _resumed(self, since: datetime) -> _Progress | None:
        if not self._keeps_progress:
            return None
        row = Lock.objects.using(self.statements.alias).filter(name=NAME).first()
        if row is None or not since <= row.until <= datetime.now(UTC):
            return None
        next_page, schema_version = map(int, row.owner.split("/"))
        if schema_version != self._schema_version():
            return None
        return _Progress(row.until.astimezone(UTC), next_page, schema_version)

    def _begun(self, since: datetime) -> _Progress:
        began = max(datetime.now(UTC), since)
        empty_log(self.statements, self.check_time)  # what is only there would not be seen
        progress = _Progress(began, 1, self._schema_version())
        self._note(progress)
        return progress

    def _note(self, progress: _Progress) -> None:
        if not self._keeps_progress:
            return
        Lock.objects.using(self.statements.alias).update_or_create(
            name=NAME,
            defaults={
                "owner": f"{progress.next_page}/{progress.schema_version}",
                "until": progress.began,
            },
        )

    def _schema_version(self) -> int:
        ((version,),) = self.statements.rows("PRAGMA schema_version", {})
        return int(version)

    def _layout(self) -> Layout:
        descriptor = database_file.descriptor(self.database)
        header = os.pread(descriptor, HEADER_BYTES, 0)
        try:
            return Layout.of(header, os.fstat(descriptor).st_size)
        except UnknownFormat as error:
            raise StorageUnavailable(
                f"The bytes of what was deleted cannot be overwritten in {self.database}: {error}. "
                "Stop all servers and let SQLite rewrite the file: VACUUM."
            ) from None

    def _dirty(self, layout: Layout, pages: range) -> list[int]:
        """The pages among these whose unallocated part is not all zeros."""
        offset = (pages.start - 1) * layout.page_size
        content = os.pread(
            database_file.descriptor(self.database), len(pages) * layout.page_size, offset
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
            if not is_emptied(self.statements):
                time.sleep(PAUSE_SECONDS)
            left = self._overwrite(layout, left)

    def _overwrite(self, layout: Layout, pages: list[int]) -> list[int]:
        """Overwrite what can be now. Returns the pages that are in the log."""
        if not pages:
            return []
        descriptor = database_file.descriptor(self.database)
        with self.statements.writing(), closing(_connect(self.database)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            logged = set(logged_pages(Path(f"{os.path.realpath(self.database)}-wal")))
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
    connection = sqlite3.connect(database, isolation_level=None, timeout=20)
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
