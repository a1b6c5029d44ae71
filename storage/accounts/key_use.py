"""How much each API key is used, day by day, and when it was used last.

Calls are counted in the process, since a write for each would cost more than the call. A thread
adds them to the database every PAUSE_SECONDS, so a process that is killed loses so much and no
more. Only keys that are stored are counted: what strangers send takes no space.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from multiprocessing.util import Finalize

from django.db import connections
from django.db.models import Q, QuerySet

from storage.accounts.transactions import ALIAS, in_transaction, run_for_each
from storage.models import ApiKey, ApiKeyUse
from storage.sql.errors import translated

logger = logging.getLogger(__name__)

KEPT_FOR = timedelta(days=90)

PAUSE_SECONDS = 10.0

LAST_USED_PAUSE = timedelta(minutes=1)
"""How old `last_used_at` gets before it is written again."""

WARN_SECONDS = 60.0

_ADD = f"""
    INSERT INTO {ApiKeyUse._meta.db_table} AS stored (prefix, day, calls, refused)
    VALUES (%(prefix)s, %(day)s, %(calls)s, %(refused)s)
    ON CONFLICT (prefix, day) DO UPDATE
    SET calls = stored.calls + excluded.calls, refused = stored.refused + excluded.refused
"""  # noqa: S608  (the name of our table)


class Uses:
    """What was counted and is not yet in the database. Thread-safe; counting never raises."""

    def __init__(self, *, in_background: bool) -> None:
        self._in_background = in_background
        self.forget()

    def forget(self) -> None:
        """Start with nothing. In a forked child: what waits is for its parent to write."""
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._calls: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._has_thread = False
        self._at_exit: Finalize | None = None
        self._warned = -WARN_SECONDS

    def called(self, prefix: str) -> None:
        """Count a call that came with this key. It is of the day on which it is written."""
        with self._lock:
            self._calls[prefix] = self._calls.get(prefix, 0) + 1
            if self._in_background and not self._has_thread:
                self._start()

    def refused(self, prefix: str) -> None:
        """Count that such a call was refused."""
        with self._lock:
            self._refused[prefix] = self._refused.get(prefix, 0) + 1
            if self._in_background and not self._has_thread:
                self._start()

    def flush(self) -> None:
        """Write what waits. Never raises: if it cannot be written, it goes on waiting."""
        with self._writing:
            with self._lock:
                calls, self._calls = self._calls, {}
                refused, self._refused = self._refused, {}
            try:
                if calls or refused:
                    _add(calls, refused, datetime.now(UTC))
            except Exception as error:
                self._warn(error)
                with self._lock:
                    self._calls = dict(Counter(calls) + Counter(self._calls))
                    self._refused = dict(Counter(refused) + Counter(self._refused))

    def _start(self) -> None:
        if self._at_exit is None:
            # Not `atexit`, which workers of the server, as children of multiprocessing, never call.
            self._at_exit = Finalize(None, self.flush, exitpriority=1)
        self._has_thread = True
        try:
            threading.Thread(target=self._work, name="key use", daemon=True).start()
        except RuntimeError as error:  # too many threads; the next call tries again
            self._has_thread = False
            logger.warning("No thread for the counts of API keys could be started: %s", error)

    def _work(self) -> None:
        while self._has_thread:
            time.sleep(PAUSE_SECONDS)
            self.flush()
            connections.close_all()  # back into the pool
            with self._lock:
                self._has_thread = bool(self._calls or self._refused)

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned >= WARN_SECONDS:
            self._warned = time.monotonic()
            logger.warning("The counts of API keys wait: %s", error)


USES = Uses(in_background=True)
os.register_at_fork(after_in_child=USES.forget)


def _add(calls: Mapping[str, int], refused: Mapping[str, int], now: datetime) -> None:
    counted = calls.keys() | refused.keys()
    stored = ApiKey.objects.using(ALIAS).filter(prefix__in=counted)
    with translated:  # a key may have been deleted since, with its counts
        prefixes = list(stored.order_by("prefix").values_list("prefix", flat=True))
    rows = [
        {
            "prefix": prefix,
            "day": now.date().isoformat(),
            "calls": calls.get(prefix, 0),
            "refused": refused.get(prefix, 0),
        }
        for prefix in prefixes
    ]

    def add_and_note() -> None:
        run_for_each(_ADD, rows)
        _used(prefixes, now)

    with translated:  # all or nothing: what fails is added again
        in_transaction(add_and_note)


def _used(prefixes: list[str], now: datetime) -> None:
    """Set `last_used_at`, which changes the table of keys: once a minute is enough.

    Call it in a transaction.
    """
    is_old = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_PAUSE)
    old = ApiKey.objects.using(ALIAS).filter(is_old, prefix__in=prefixes)
    time_of = connections[ALIAS].ops.adapt_datetimefield_value
    keys = old.order_by("pk").values_list("pk", flat=True)
    rows = [{"pk": pk, "now": time_of(now)} for pk in keys]
    if rows:
        table = ApiKey._meta.db_table
        sql = f"UPDATE {table} SET last_used_at = %(now)s WHERE id = %(pk)s"  # noqa: S608
        run_for_each(sql, rows)


def of_key(prefix: str, first: date, last: date) -> list[ApiKeyUse]:
    """The use of a key on these days, both inclusive, the latest first. Raises StorageError."""
    rows = ApiKeyUse.objects.using(ALIAS).filter(prefix=prefix, day__range=(first, last))
    with translated:
        return list(rows.order_by("-day"))


def remove(until: datetime, limit: int) -> int:
    """Delete up to `limit` days of keys before the day of `until`; returns their number."""
    with translated:
        keys = list(_old(until).order_by("day").values_list("pk", flat=True)[:limit])
        return _old(until).filter(pk__in=keys).delete()[0] if keys else 0


def count_old(until: datetime) -> int:
    """The number of days of keys that `remove` would delete."""
    with translated:
        return _old(until).count()


def _old(until: datetime) -> "QuerySet[ApiKeyUse]":
    return ApiKeyUse.objects.using(ALIAS).filter(day__lt=until.date())
