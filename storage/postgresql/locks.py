"""Locks that all machines share, as long as a transaction or a process lasts."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connections

MIGRATIONS = "migrations"


def lock_until_commit(name: str, alias: str) -> None:
    """Wait until this transaction alone has the lock. It keeps it until it has ended."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_number(name)])


@contextmanager
def migration_lock(alias: str) -> Iterator[None]:
    """Until the block ends, no other process on any machine is in it.

    On a connection of its own: that of the pool would take the lock on to its next user. The server
    releases it when the process dies. Raises django.db.OperationalError.
    """
    wrapper = connections[alias]
    with wrapper.wrap_database_errors:
        parameters = wrapper.get_connection_params() | {"autocommit": True}
        with psycopg.connect(**parameters) as connection:
            connection.execute("SET statement_timeout = 0")  # another one may take its time
            connection.execute("SET lock_timeout = 0")
            connection.execute("SELECT pg_advisory_lock(%s)", [_number(MIGRATIONS)])
            yield


def _number(name: str) -> int:
    """The number of a lock. Other applications in the same database have other ones."""
    return zlib.crc32(f"chat-interaction-store {name}".encode()) | 0x43484154 << 32
