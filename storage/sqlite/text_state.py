"""What the search index says of itself: how much it has, and of which state of the database."""

import unicodedata
from dataclasses import astuple, dataclass
from typing import Any

from django.conf import settings

from storage.sqlite.text_parts import SCHEMA, Parts

FORMAT = f"2/{unicodedata.unidata_version}"
"""Of the file, and of the characters that words are made of. One of another format is made anew."""

PARTS = 30
"""About how many there are, if interactions are kept for RETENTION_TOTAL_DAYS."""

DELETED_AT_ONCE = 500
"""Entries that are deleted by one statement when the index is emptied: about a megabyte."""

_STATE = """
CREATE TABLE state (
    format TEXT NOT NULL,
    part_seconds INTEGER NOT NULL,
    token TEXT,
    previous TEXT,
    last INTEGER NOT NULL,
    phase TEXT NOT NULL,
    done_until TEXT NOT NULL
);
CREATE TABLE scrubbed (
    began TEXT NOT NULL,
    next_page INTEGER NOT NULL,
    schema_version INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class State:
    """What the index has. See `storage.sqlite.text_index`."""

    part_seconds: int
    token: str | None
    previous: str | None
    last: int
    phase: str
    done_until: str


@dataclass(frozen=True)
class Contents:
    """The index within one transaction."""

    connection: Any
    state: State

    @property
    def parts(self) -> Parts:
        """What is indexed."""
        return Parts(self.connection, self.state.part_seconds)

    def note(self, **changes: str | int | None) -> None:
        """Change the state for later transactions."""
        names = ", ".join(f"{name} = :{name}" for name in changes)
        self.connection.execute(f"UPDATE state SET {names}", changes)  # noqa: S608  (names)

    @property
    def scrubbed(self) -> tuple[str, int, int] | None:
        """When the last pass of scrubbing began, its next page, and the version of the schema."""
        rows = self.connection.execute("SELECT * FROM scrubbed").fetchall()
        return rows[0] if rows else None

    def note_scrubbed(self, began: str, next_page: int, schema_version: int) -> None:
        """Keep how far a pass of scrubbing is."""
        noted = [began, next_page, schema_version]
        self.connection.execute("DELETE FROM scrubbed")
        self.connection.execute("INSERT INTO scrubbed VALUES (?, ?, ?)", noted)


def state_in(connection: Any) -> State | None:
    """The state of the index; None if it is empty, or has another format."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'state'").fetchall():
        return None
    rows = connection.execute("SELECT * FROM state").fetchall()
    return State(*rows[0][1:]) if rows and rows[0][0] == FORMAT else None


def emptied(connection: Any) -> State:
    """Drop all tables, and make those of an index that has nothing yet."""
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND (sql LIKE 'CREATE VIRTUAL %'"
        " OR name IN ('part', 'entry', 'state', 'scrubbed'))"
    ).fetchall()
    for (name,) in tables:
        if name == "entry":
            _delete_rows(connection)
        connection.execute(f'DROP TABLE "{name}"')
    for statement in (SCHEMA + _STATE).split(";\n"):
        connection.execute(statement)
    days = max(settings.RETENTION_TOTAL_DAYS // PARTS, 1)
    state = State(days * 24 * 3600, None, None, 0, "rows", "")
    connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?)", [FORMAT, *astuple(state)])
    return state


def _delete_rows(connection: Any) -> None:
    """Delete all entries, some at a time.

    What a statement overwrites SQLite keeps until the statement ends, and the library of pysqlite3
    in memory, so dropping the table would take as much memory as the table has bytes.
    """
    some = f"SELECT rowid FROM entry ORDER BY rowid LIMIT {DELETED_AT_ONCE}"  # noqa: S608  (a number)
    while connection.execute(f"DELETE FROM entry WHERE rowid IN ({some})").rowcount:  # noqa: S608
        pass
