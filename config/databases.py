"""The SQL database that DATABASE_URL names: a SQLite file, or PostgreSQL in production."""

import contextlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from config.environment import path

POSTGRESQL = ("postgres://", "postgresql://")
"""How the URL of a PostgreSQL database begins."""


def sql_database(url: str, data_dir: Path, environment: str) -> dict[str, Any]:
    """The entry in DATABASES for a DATABASE_URL. Raises ImproperlyConfigured."""
    if url.startswith(POSTGRESQL):
        return _postgresql(url, environment)
    return _sqlite(_database_file(url, data_dir), data_dir)


def _postgresql(url: str, environment: str) -> dict[str, Any]:
    """A database for what production keeps besides interactions. No message has a password."""
    if environment != "production":
        raise ImproperlyConfigured(
            f"DATABASE_URL names a PostgreSQL database, and with ENVIRONMENT={environment} "
            "interactions are in the SQL database, which must then be a SQLite file. Leave "
            "DATABASE_URL empty, or use ENVIRONMENT=production."
        )
    if not (find_spec("psycopg") and find_spec("psycopg_pool")):
        raise ImproperlyConfigured(
            "DATABASE_URL names a PostgreSQL database, and psycopg is not installed. Run: "
            "pip install --require-hashes -r requirements/production.txt"
        )
    from storage.postgresql.url import database

    try:
        return database(url)
    except ValueError:
        raise ImproperlyConfigured(
            "DATABASE_URL is not the URL of a PostgreSQL database. Write "
            "postgres://user:password@host:5432/database?sslmode=verify-full with parameters that "
            "libpq knows, and with %40 for a @, %2F for a / and %25 for a % in the password."
        ) from None


def _sqlite(file: Path, data_dir: Path) -> dict[str, Any]:
    return {
        "ENGINE": "storage.sqlite",
        "NAME": str(file),
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            "pool": {"max_size": 5, "timeout": 30},
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            # Values stay as SQLite returns them; Django's fields and our storage convert them.
            "detect_types": 0,
            # FULL: a commit survives a power loss once it was acknowledged.
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
            "PRAGMA secure_delete=ON;PRAGMA journal_size_limit=67108864;"
            # Pages of the log, 16 MB: fewer copies of the same pages into the database.
            "PRAGMA wal_autocheckpoint=4000",
        },
        # A file, because tests check WAL, pools and several processes.
        "TEST": {"NAME": str(data_dir / "test.sqlite3")},
    }


def _database_file(url: str, data_dir: Path) -> Path:
    """The path in DATABASE_URL. Raises ImproperlyConfigured if it is not a SQLite file."""
    if not url:
        with contextlib.suppress(OSError):  # SQLite reports it more clearly
            data_dir.mkdir(parents=True, exist_ok=True)
        return data_dir / "chat.sqlite3"
    # A + would become a space, and what follows a ? or a # would be ignored.
    is_read_whole = url.startswith("sqlite:///") and not set("?#") & set(url)
    name = environ.Env.db_url_config(url.replace("+", "%2B"))["NAME"] if is_read_whole else ""
    with contextlib.suppress(ValueError):
        if name not in ("", ":memory:"):
            return path(name)
    shown = "DATABASE_URL" if "@" in url else f"DATABASE_URL={url!r}"  # no password
    raise ImproperlyConfigured(
        f"{shown} does not name a SQLite file. Write sqlite:///relative/path or "
        "sqlite:////absolute/path, with %3F for a ? and %23 for a #, and without ~ and $NAME, "
        "which only a shell replaces. In production postgres://user:password@host/database is "
        "possible, too."
    )
