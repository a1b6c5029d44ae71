"""Locks in the SQL database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from django.db import connections, transaction

from storage.database import END_OF_TIME, latest_lock_end
from storage.models import Lock
from storage.sqlite.queries import to_text, to_time

_TABLE = Lock._meta.db_table

# As text: the ORM would take five times as long, and asks twice more before it writes.
_OWNER = f"SELECT owner FROM {_TABLE} WHERE name = %s AND until > %s AND until <= %s"  # noqa: S608
_PUT = (
    f"INSERT INTO {_TABLE} (name, owner, until) VALUES (%s, %s, %s) "  # noqa: S608
    "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until"
)
_BEGINNING_WITH = f"SELECT name, owner, until FROM {_TABLE} WHERE name GLOB %s"  # noqa: S608
_RELEASE = f"DELETE FROM {_TABLE} WHERE name = %s AND owner = %s"  # noqa: S608


def acquire(alias: str, name: str, owner: str, seconds: float) -> bool:
    """Acquire a free or expired lock, or renew it. Returns whether `owner` holds it."""
    # IMMEDIATE, so no other process comes in between.
    with _without_checkpoint(alias):
        if owner_of(alias, name, seconds) not in (None, owner):
            return False
        until = _time(min(datetime.now(UTC).timestamp() + seconds, END_OF_TIME))
        put(alias, name, owner, until)
        return True


def put(alias: str, name: str, owner: str, until: datetime) -> None:
    """Write the row of a name, whatever it was."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_PUT, [name, owner, to_text(until)])


def owner_of(alias: str, name: str, seconds: float) -> str | None:
    """Returns who holds a lock that is acquired for so many seconds, or None."""
    now = datetime.now(UTC)
    latest = _time(latest_lock_end(now.timestamp(), seconds))
    with connections[alias].cursor() as cursor:
        cursor.execute(_OWNER, [name, to_text(now), to_text(latest)])
        found = cursor.fetchone()
    return None if found is None else str(found[0])


def beginning_with(alias: str, prefix: str) -> Iterator[tuple[str, str, datetime]]:
    """The rows whose names begin so: what follows in the name, the owner, and until when."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_BEGINNING_WITH, [f"{prefix}*"])
        found = cursor.fetchall()
    for name, owner, until in found:
        yield name.removeprefix(prefix), owner, to_time(until)


def release(alias: str, name: str, owner: str) -> None:
    """Release a lock if `owner` holds it."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_RELEASE, [name, owner])


def drop(alias: str, name: str) -> None:
    """Release a lock, whoever holds it."""
    Lock.objects.using(alias).filter(name=name).delete()


@contextmanager
def _without_checkpoint(alias: str) -> Iterator[None]:
    """A transaction after which SQLite does not copy the write-ahead log into the database.

    A run renews its lock beside its own work. That may be to empty the log, which fails while
    another connection copies it.
    """
    connection = None
    try:
        with transaction.atomic(alias):
            connection = connections[alias].connection
            ((pages,),) = connection.execute("PRAGMA wal_autocheckpoint").fetchall()
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            yield
    finally:
        if connection is not None:
            with suppress(sqlite3.Error):  # if it has failed, it is not used again
                connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
