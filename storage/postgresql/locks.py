"""The lock that lets one process of all machines migrate at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connections

from storage.sql.vendors import lock_number

MIGRATIONS = "migrations"

NO_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
"""Another process may take its time, and so may this one."""


@contextmanager
def migration_lock(alias: str) -> Iterator[None]:
    """Until the block ends, no other process on any machine is in it.

    The server releases the lock when the process dies. It is of a transaction, and not of a
    session, so that it holds behind a pooler such as PgBouncer. Raises django.db.OperationalError.
    """
    with connected(alias) as connection, connection.transaction():
        with connections[alias].wrap_database_errors:
            for name in NO_LIMITS:
                connection.execute(f"SET LOCAL {name} = 0")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock_number(MIGRATIONS)])
        yield


@contextmanager
def connected(alias: str) -> Iterator["psycopg.Connection[Any]"]:
    """A connection beside the pool, which would take what a session remembers to the next user.

    Raises django.db.OperationalError at once, with the reason, if there is none to be had.
    """
    wrapper = connections[alias]
    with wrapper.wrap_database_errors:
        parameters = wrapper.get_connection_params() | {"autocommit": True}
        connection = psycopg.connect(**parameters)
    with connection:
        yield connection
