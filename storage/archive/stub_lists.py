"""A database's stubs by segment, for as long as they are compared: not every backend has an index.

The list is on disk, since there may be more stubs than memory holds.
"""

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from django.conf import settings

from storage.archive.files import translated
from storage.exceptions import StorageUnavailable
from storage.records.stubs import Stub

_TEMPORARY = "A temporary file in DATA_DIR"


@dataclass(frozen=True)
class StubsBySegment:
    """Which segment each stub named when this was made, and which stubs are wrong."""

    connection: sqlite3.Connection

    def segments(self) -> set[str]:
        return {name for (name,) in self.connection.execute("SELECT DISTINCT segment FROM stubs")}

    def ids(self, segment: str) -> set[str]:
        found = self.connection.execute("SELECT id FROM stubs WHERE segment = ?", (segment,))
        return {interaction_id for (interaction_id,) in found}

    def note_wrong(self, segment: str, ids: Iterable[str], *, may_be_right: bool = False) -> None:
        self.connection.executemany(
            "INSERT OR IGNORE INTO wrong VALUES (?, ?, ?)",
            ((interaction_id, segment, may_be_right) for interaction_id in ids),
        )

    def wrong(self) -> Iterator[tuple[str, str]]:
        """All that are wrong for sure: the id and the segment, by segment."""
        return iter(
            self.connection.execute(
                "SELECT id, segment FROM wrong WHERE NOT may_be_right ORDER BY segment"
            )
        )

    def wrong_among(self, ids: Sequence[str]) -> dict[str, str]:
        """The segments that the stubs of these ids name, if they are or may be wrong."""
        found = self.connection.execute(
            "SELECT id, segment FROM wrong WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )
        return dict(found)


@contextmanager
def stubs_by_segment(stubs: Iterable[Stub]) -> Iterator[StubsBySegment]:
    """A list of these stubs, for as long as the block runs. Raises StorageUnavailable."""
    try:
        with closing(_temporary_database()) as connection:
            connection.execute(
                "CREATE TABLE stubs (segment, id, PRIMARY KEY (segment, id)) WITHOUT ROWID"
            )
            connection.execute(
                "CREATE TABLE wrong (id PRIMARY KEY, segment, may_be_right) WITHOUT ROWID"
            )
            connection.executemany(
                "INSERT OR IGNORE INTO stubs VALUES (?, ?)",
                ((stub.segment, stub.interaction_id) for stub in stubs),
            )
            yield StubsBySegment(connection)
    except sqlite3.Error as error:
        raise StorageUnavailable(f"{_TEMPORARY} could not be used: {error}.") from error


def _temporary_database() -> sqlite3.Connection:
    """A database in DATA_DIR that has no name any more, so nothing is left of it after a crash."""
    with translated(_TEMPORARY, "written", remedy="Check DATA_DIR."):
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=settings.DATA_DIR) as file:
            connection = sqlite3.connect(file.name)
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA user_version = 1")  # opens the file
            return connection
