"""Which kind of SQL database there is: a SQLite file, or PostgreSQL, which machines share."""

from django.db import connections


def is_postgresql(alias: str = "default") -> bool:
    """Whether the SQL database is in PostgreSQL. It then has no interactions."""
    return bool(connections[alias].vendor == "postgresql")
