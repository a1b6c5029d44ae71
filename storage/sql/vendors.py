"""Which kind of SQL database there is, and what PostgreSQL needs that SQLite does by itself.

SQLite is a file on one machine, with one writer at a time. In PostgreSQL those of many machines
write beside each other, and each statement sees what others have committed before it.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connections

answer_seconds: ContextVar[float | None] = ContextVar("answer_seconds", default=None)
"""How long PostgreSQL may take for an answer; None as long as it needs."""


def is_postgresql(alias: str = "default") -> bool:
    """Whether the SQL database is in PostgreSQL. It then has no interactions."""
    return bool(connections[alias].vendor == "postgresql")


def lock_until_commit(name: str, alias: str = "default") -> None:
    """Wait until nobody else, on any machine, is in a transaction that has called this.

    Call it first in a transaction that writes by what it has read. May raise DatabaseError.
    """
    if is_postgresql(alias):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock_number(name)])


def lock_number(name: str) -> int:
    """PostgreSQL's number of a lock. Other applications in the same database have other ones."""
    return zlib.crc32(f"chat-interaction-store {name}".encode()) | 0x43484154 << 32


@contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """In this block a statement that PostgreSQL has not answered by then is an OperationalError.

    A PostgreSQL that hangs cannot end the statement itself, and its host acknowledges all packets.
    """
    token = answer_seconds.set(seconds)
    try:
        yield
    finally:
        answer_seconds.reset(token)
