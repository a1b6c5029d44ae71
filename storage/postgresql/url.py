"""Django's settings of the database that a DATABASE_URL names, as libpq reads it."""

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from storage.postgresql.answers import Lent

WAIT_SECONDS = 2.0
"""How long a thread waits for a connection."""

IDLE = 1
"""Connections that the pool keeps for ever. More are opened when needed, for IDLE_SECONDS."""

IDLE_SECONDS = 300.0

RECONNECT_SECONDS = 1.0
"""How long the pool tries to connect by itself, in ever longer pauses. Whoever then wants a
connection lets it try again at once."""

POOL: dict[str, Any] = {
    "min_size": IDLE,
    "max_size": 5,
    "timeout": WAIT_SECONDS,
    "max_idle": IDLE_SECONDS,
    "reconnect_timeout": RECONNECT_SECONDS,
    "name": "postgresql",
    "connection_class": Lent,
}
"""`OPTIONS["pool"]` of the settings."""

PATIENCE = {
    # Seconds, but for the last: a host that is gone, with a request on its way or without.
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
    "application_name": "chat-interaction-store",
    # A process that hangs, or a machine that is gone, does not keep its locks.
    "options": "-c statement_timeout=20s -c lock_timeout=10s "
    "-c idle_in_transaction_session_timeout=60s",
}
"""What a URL can say otherwise."""


def database(url: str) -> dict[str, Any]:
    """The entry in DATABASES. Raises ValueError, which has no part of the URL."""
    try:
        parameters: dict[str, Any] = dict(conninfo_to_dict(url))
    except psycopg.Error:
        raise ValueError from None  # its text may have the password
    if not parameters.get("dbname"):
        raise ValueError
    named = {
        "NAME": parameters.pop("dbname"),
        "USER": parameters.pop("user", ""),
        "PASSWORD": parameters.pop("password", ""),
        "HOST": parameters.pop("host", ""),
        "PORT": parameters.pop("port", ""),
    }
    return {
        "ENGINE": "storage.postgresql",
        **named,
        "CONN_MAX_AGE": 0,  # connections go back into the pool
        "CONN_HEALTH_CHECKS": False,  # see storage/postgresql/base.py
        # A cursor of the server's is of a session, which a pooler by transactions has none of.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {**PATIENCE, **parameters, "pool": POOL},
    }
