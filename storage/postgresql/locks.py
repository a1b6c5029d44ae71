"""A lock that all machines share, as long as a process lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connections

from storage.vendors import lock_number

MIGRATIONS = "migrations"


@contextmanager
def migration_lock(alias: str) -> Iterator[None]:
    """Until the block ends, no other process on any machine is in it.

    On a connection of its own: that of the pool would take the lock on to its next user. The server
    releases it when the process dies. Raises django.db.OperationalError.
    """
    wrapper = connections[alias]
    with wrapper.wrap_database_errors:
        parameters = wrapper.get_connection_params() | {"autocommit": True}
        connection = psycopg.connect(**parameters)
    with connection:
        with wrapper.wrap_database_errors:
            connection.execute("SET statement_timeout = 0")  # another one may take its time
            connection.execute("SET lock_timeout = 0")
            connection.execute("SELECT pg_advisory_lock(%s)", [lock_number(MIGRATIONS)])
        yield
