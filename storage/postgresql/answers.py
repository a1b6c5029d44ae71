"""Connections of the pool, which wait for an answer as long as `answered_within` says.

libpq has no limit for that. `tcp_user_timeout` and keepalives notice a host that is gone, but not a
server that hangs: its host acknowledges all that it is sent.
"""

import time
from typing import Any

import psycopg

from storage.sql.vendors import answer_seconds


class Unanswered(psycopg.OperationalError):
    """The server hangs, or is too busy. What it was asked, it may do later."""


class Lent(psycopg.Connection[Any]):
    """A connection that is closed if no answer comes in time."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer of the server. Raises Unanswered."""
        limit = answer_seconds.get()
        if limit is None:
            return super().wait(gen, interval, timeout)
        started = time.monotonic()
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError as error:
            if time.monotonic() - started < limit:
                raise
            self.close()
            raise Unanswered("the server has not answered in time") from error
