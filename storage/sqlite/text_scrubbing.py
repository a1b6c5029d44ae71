"""The file of the search index, as scrubbing sees it.

FTS5 keeps its words in rows of ordinary tables. With `secure-delete` it takes those of a deleted
row out of them, and SQLite's `secure_delete` puts zeros over what they were in, overflow pages and
freed ones included. So what is left is where the database has it, in the unallocated parts of pages
that were divided; and in separators (`text_separators`).
"""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

from storage.exceptions import StorageUnavailable
from storage.sqlite import scrubbing
from storage.sqlite.scrubbing import Progress, ScrubbedFile
from storage.sqlite.text_damage import is_damage
from storage.sqlite.text_file import IndexFile
from storage.sqlite.text_separators import replace_separators

WAIT_SECONDS = 20.0
"""How long it waits for a pass of the indexer, to note how far it is."""


class ScrubbedIndex(ScrubbedFile):
    """A search index; its progress is in itself, and so is gone when it is made anew.

    A pass that ended stays noted: the next call for the same erasures has nothing to read again.
    """

    remedy = "Delete it, with its -wal and -shm: it is made again."

    def __init__(self, file: IndexFile) -> None:
        self.path = str(file.path)
        self._file = file

    def value(self, pragma: str) -> int:
        return self._file.value(pragma)

    def writing(self) -> AbstractContextManager[object]:
        return nullcontext()  # SQLite's own lock is enough

    def is_emptied(self) -> bool:
        return self._file.is_log_emptied()

    def prepare(self, check_time: Callable[[], None]) -> None:
        replace_separators(self._file, check_time)

    def progress(self) -> Progress | None:
        with self._file.reading() as contents:
            noted = contents.scrubbed if contents else None
        if noted is None:
            return None
        began, next_page, schema_version = noted
        return Progress(datetime.fromisoformat(began), next_page, schema_version)

    def note(self, progress: Progress) -> None:
        began = progress.began.isoformat()
        with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
            contents.note_scrubbed(began, progress.next_page, progress.schema_version)

    def end(self, progress: Progress) -> None:
        self.note(progress)


def scrub(file: IndexFile, since: datetime, check_time: Callable[[], None]) -> datetime:
    """Leave no byte in an index of what was removed. See `scrubbing.scrub`."""
    began = max(datetime.now(UTC), since)
    if not file.exists():
        return began
    try:
        return scrubbing.scrub(ScrubbedIndex(file), since, check_time)
    except sqlite3.DatabaseError as error:
        if is_damage(error):  # and so the file is gone
            return began
        raise StorageUnavailable(
            f"Bytes of what was deleted may be left in the search index: {error}. Try again."
        ) from error
    except StorageUnavailable:
        if file.exists():
            raise
        return began
