"""Counts calls for all processes of this machine."""

import time

from storage.rate_limits.table import Table
from storage.rate_limits.windows import WINDOW_MS, Grant, Request, State, granted


class LocalCounts:
    """Counts in a table. Their clock is monotonic: nobody can set it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def take(self, request: Request) -> Grant:
        now = int(time.monotonic() * 1000)
        window, passed = divmod(now, WINDOW_MS)
        with self._table as table:
            expires, previous, current = table.read(request.digest)
            found = State(expires // WINDOW_MS - 2, previous, current) if expires else request.seen
            state = found.at(window).without(request.unused, request.seen.window)
            calls = granted(request, state.used(passed))
            state = state._replace(current=state.current + calls)
            table.write(request.digest, now, ((window + 2) * WINDOW_MS, *state[1:]))
        return Grant(calls, state, passed)
