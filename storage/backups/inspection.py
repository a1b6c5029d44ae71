"""Whether a database file is intact, and what it holds."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

MIGRATIONS = "django_migrations"

INSTRUCTIONS = 100_000
"""Of SQLite, between two looks at the time: some milliseconds."""

MAPPED = 1 << 40
"""Bytes of a file that are not copied for SQLite, but mapped into memory: as many as it allows."""

CACHE_KIB = 256 * 1024
"""For the rest. SQLite looks each row of a table up in its indexes, which should fit."""

CheckTime = Callable[[], None]
"""Raises when there is no time left."""


class NotIntact(Exception):
    """SQLite finds the file damaged; the message is its first finding."""


@dataclass(frozen=True)
class DatabaseContent:
    """What a database holds."""

    tables: dict[str, int]
    """Rows of each table."""
    schema: list[str]
    """Applied migrations, such as `storage.0001_initial`."""

    @property
    def row_count(self) -> int:
        """Rows of all tables."""
        return sum(self.tables.values())


@contextmanager
def connected(
    database: Path, timeout: float = 5.0, mode: str = "mode=rw"
) -> Iterator[sqlite3.Connection]:
    """A connection to an existing file without Django, in autocommit mode.

    It has the function that the index of answers called in older backups: see
    docs/decisions/0037-answers-without-sha256.md.
    """
    with closing(
        sqlite3.connect(
            f"{database.absolute().as_uri()}?{mode}",
            uri=True,
            isolation_level=None,
            timeout=timeout,
        )
    ) as connection:
        connection.create_function("SHA256", 1, _sha256, deterministic=True)
        yield connection


def examine(database: Path, check_time: CheckTime = lambda: None) -> DatabaseContent:
    """Read all of a database file that nobody changes. Raises NotIntact.

    A log beside it is not looked at. `check_time` is called again and again meanwhile. What it
    raises ends the reading.
    """
    with _intact(database, check_time) as connection:
        return _content(connection)


def check(database: Path) -> None:
    """Let SQLite compare tables, indexes and references, as `examine` does. Raises NotIntact."""
    with _intact(database, lambda: None):
        pass


@contextmanager
def _intact(database: Path, check_time: CheckTime) -> Iterator[sqlite3.Connection]:
    """A connection to a database in which SQLite has compared tables, indexes and references."""
    stopped: list[Exception] = []

    def stop() -> bool:
        try:
            check_time()
        except Exception as error:
            stopped.append(error)
        return bool(stopped)

    try:
        with connected(database, mode="mode=ro&immutable=1") as connection:
            connection.set_progress_handler(stop, INSTRUCTIONS)
            connection.execute(f"PRAGMA mmap_size = {MAPPED}").fetchall()
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise NotIntact(str(found).splitlines()[0])
            dangling = connection.execute("PRAGMA foreign_key_check").fetchone()
            if dangling is not None:
                raise NotIntact(
                    f"a row of {dangling[0]} refers to one of {dangling[2]} that is not there"
                )
            yield connection
    except sqlite3.DatabaseError as error:
        if stopped:
            raise stopped[0] from None
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise KeyboardInterrupt from None  # Ctrl-C, while `stop` was called
        raise NotIntact(str(error)) from error


def _content(connection: sqlite3.Connection) -> DatabaseContent:
    listed = connection.execute("PRAGMA main.table_list").fetchall()
    names = sorted(
        name for _, name, kind, *_ in listed if kind == "table" and not name.startswith("sqlite_")
    )
    applied: list[str] = []
    if MIGRATIONS in names:
        rows = _select(connection, "app, name", MIGRATIONS)
        applied = sorted({f"{app}.{name}" for app, name in rows})
    return DatabaseContent(
        tables={name: _select(connection, "COUNT(*)", name).fetchone()[0] for name in names},
        schema=applied,
    )


def _select(connection: sqlite3.Connection, columns: str, table: str) -> sqlite3.Cursor:
    return connection.execute(f'SELECT {columns} FROM "{table}"')  # noqa: S608


def _sha256(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
