"""Whether the server has closed a connection, without asking it."""

import select
from typing import Any

import psycopg


def was_closed(connection: "psycopg.Connection[Any]") -> bool:
    """Whether an idle connection is of no use any more: the server has ended it, or died.

    What a living server sends by itself, such as a changed parameter, is taken in on the way.
    """
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLIN)
        while poll.poll(0):
            connection.pgconn.consume_input()
    except psycopg.Error:
        return True
    return connection.closed
