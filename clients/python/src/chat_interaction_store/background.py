"""`BackgroundStore`: a queue that a thread empties into the store."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import os
import threading
import time
import weakref
from collections import Counter, deque
from typing import TYPE_CHECKING

from chat_interaction_store import calls, retries
from chat_interaction_store.errors import (
    InvalidRequest,
    NotAllowed,
    Refused,
    StoreError,
    StoreUnavailable,
)
from chat_interaction_store.interactions import NewInteraction, Saved, new_interaction_id

if TYPE_CHECKING:
    from chat_interaction_store.store import Store

logger = logging.getLogger("chat_interaction_store")

BATCH_ITEMS = 200
BATCH_BYTES = 2 * 1024 * 1024

LOG_INTERVAL = 60.0
"""Seconds between two log lines about what was dropped."""

LONGEST_SLEEP = 5.0
"""Seconds after which the thread looks for work that it was not told of; see Note [Reentrance]."""

CLOSE_TIMEOUT = 5.0
"""Seconds that the end of a process may take."""


# Note [Reentrance]
#
# A stream of a model that its reader leaves is ended by Python's garbage collection, which saves
# the text that has come. That may happen in any thread between any two steps, also here, where the
# lock is held. So it is one that its holder can take again, and `save` and `leave_out` may come
# between any two steps: no number is read before a function is called and written after it. Only a
# thread that is about to wait is not woken by what comes at that moment.


class _Abandoned(Exception):
    """The time of `close` is over."""


class BackgroundStore:
    """Saves without blocking: `save` puts an interaction into a queue, and a thread sends it.

    The queue has up to `max_items` interactions and `max_bytes` bytes; when it is full, what is new
    is dropped. While the store cannot be reached, the queue waits for it. What the store refuses is
    dropped. `dropped` counts all that by reason, and one log line a minute says it.

    Threads and event loops can share one. A forked child begins with an empty queue. At the end of
    the process, and in `close`, what is left is sent for up to 5 seconds; a process that ends by
    `os._exit`, as those of multiprocessing do, has to call `close` before.
    """

    def __init__(
        self, store: Store, *, max_items: int = 10_000, max_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self._store = store
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        """Begin empty, in a new object or in a forked child, where another thread's lock may be
        locked for ever.
        """
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[bytes] = deque()
        self._sending = 0
        self._bytes = 0
        self._ended = 0
        self._saved = 0
        self._dropped: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._told_at = -LOG_INTERVAL
        self._detail = ""
        self._last_attempt = ""
        """Why the batch that is being sent has to wait; empty if it has not."""
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None

    def save(
        self,
        *,
        user_id: str,
        message: str,
        model_used: str,
        response: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
        interaction_id: str | None = None,
    ) -> str:
        """Have an interaction saved soon. Returns its id at once, whatever will become of it.

        Raises TypeError or ValueError for what JSON has not.
        """
        new = NewInteraction(
            user_id=user_id,
            message=message,
            model_used=model_used,
            response=response,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            interaction_id=interaction_id or new_interaction_id(),
        )
        item = new.to_json()
        with self._changed:
            if reason := self._why_not(item):
                self._dropped[reason] += 1
            else:
                size = len(item)
                self._bytes += size
                self._queue.append(item)
                self._changed.notify_all()
            news = self._news_after_the_end()
        self._log(news)
        return new.interaction_id

    def _why_not(self, item: bytes) -> str | None:
        if self._deadline is not None:
            return "closed"
        if len(self._queue) + self._sending >= self._max_items:
            return "queue full"
        if self._bytes + len(item) > self._max_bytes:
            return "queue full"
        return None if self._has_thread() else "process ending"

    def _has_thread(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="chat-interaction-store", daemon=True)
            return self._has_started(thread)
        return True

    def _has_started(self, thread: threading.Thread) -> bool:
        if self._thread is None:  # see Note [Reentrance]
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # Python starts no thread while it ends
                self._thread = None
                return False
        return True

    def leave_out(self, reason: str) -> None:
        """Count something that cannot be saved, as dropped."""
        with self._changed:
            self._dropped[reason] += 1
            if self._deadline is None and self._has_thread():
                self._changed.notify_all()
            news = self._news_after_the_end()
        self._log(news)

    @property
    def dropped(self) -> dict[str, int]:
        """How many were not saved, by reason."""
        with self._changed:
            return dict(self._dropped)

    @property
    def saved(self) -> int:
        """How many were saved, by now or before."""
        with self._changed:
            return self._saved

    @property
    def pending(self) -> int:
        """How many are not sent yet."""
        with self._changed:
            return len(self._queue) + self._sending

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that is in the queue now is saved or dropped. Returns False if it takes
        more than `timeout` seconds.
        """
        with self._changed:
            goal = self._ended + len(self._queue) + self._sending
            return self._changed.wait_for(lambda: self._ended >= goal, timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Send what is left, for up to `timeout` seconds. Returns whether nothing was left.

        What is saved later is dropped. Closing again waits no longer.
        """
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout
            deadline, thread = self._deadline, self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            left = len(self._queue) + self._sending
            self._drop(left, "not confirmed before the end")
            self._queue.clear()
            self._sending = self._bytes = 0
            self._ended += left
            self._changed.notify_all()
            news = self._news(at_once=True)
        self._log(news)
        return left == 0

    async def aflush(self, timeout: float | None = None) -> bool:
        """`flush` as a coroutine."""
        return await asyncio.to_thread(self.flush, timeout)

    async def aclose(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """`close` as a coroutine."""
        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> BackgroundStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> BackgroundStore:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # What follows is run by the thread.

    def _work(self) -> None:
        with contextlib.suppress(_Abandoned):
            while items := self._next_batch():
                self._deliver(items)

    def _next_batch(self) -> list[bytes]:
        """Waits for interactions. Returns those of one call; none when it is closed."""
        while True:
            self._log_drops()
            with self._changed:
                if self._queue:
                    return self._take()
                if self._deadline is not None:
                    return []
                wait = self._until_next_log()
                self._changed.wait(LONGEST_SLEEP if wait is None else min(wait, LONGEST_SLEEP))

    def _take(self) -> list[bytes]:
        items: list[bytes] = []
        size = 0
        while self._queue and len(items) < BATCH_ITEMS and size < BATCH_BYTES:
            item = self._queue.popleft()
            items.append(item)
            size += len(item)
        self._sending = len(items)
        return items

    def _deliver(self, items: list[bytes]) -> None:
        """Save these, leaving out those that the store refuses."""
        parts = [items]
        while parts:
            part = parts.pop()
            try:
                results = self._send(part)
            except Refused as error:
                if smaller := _divided(part, error):
                    parts += smaller
                else:
                    self._end(part, 0, f"refused ({error.status} {error.title})", str(error))
            except _Abandoned:
                raise
            except StoreError as error:
                self._end(part, 0, "refused", str(error))
            except Exception as error:
                # Whatever it is, what comes next has to be saved.
                self._end(part, 0, f"error in the client ({type(error).__name__})")
            else:
                saved = sum(result.status != "conflict" for result in results)
                self._end(part, saved, "another interaction with this id")

    def _send(self, items: list[bytes]) -> list[Saved]:
        """Send one batch until the store has answered. Raises Refused, or _Abandoned."""
        call = calls.batch(items)
        attempt, told_at = 0, time.monotonic()
        while True:
            try:
                return self._store.send(call, retries=0)
            except StoreUnavailable as error:
                self._last_attempt = str(error)
                if time.monotonic() >= told_at + LOG_INTERVAL:
                    told_at = time.monotonic()
                    self._tell_waiting()
                self._wait(retries.delay(attempt, error))
                attempt += 1

    def _wait(self, seconds: float) -> None:
        """Wait, less while it closes. Raises _Abandoned if the time to close is over."""
        told_at = time.monotonic()
        end = told_at + seconds
        while (now := time.monotonic()) < end:
            if now >= told_at + LOG_INTERVAL:
                told_at = now
                self._tell_waiting()
            self._log_drops()
            with self._changed:
                if self._deadline is not None:
                    if now >= self._deadline:
                        raise _Abandoned from None
                    end = min(end, now + 0.2, self._deadline)
                self._changed.wait(min(end - now, LOG_INTERVAL))

    def _tell_waiting(self) -> None:
        logger.warning("Interactions wait for the store: %s", self._last_attempt)

    def _end(self, items: list[bytes], saved: int, reason: str, detail: str = "") -> None:
        """These are done: `saved` of them are in the store, the others never will be."""
        count, size = len(items), sum(map(len, items))
        with self._changed:
            if self._sending == 0:
                return  # `close` has counted them
            self._saved += saved
            self._drop(count - saved, reason)
            self._detail = detail or self._detail
            self._last_attempt = ""
            self._bytes -= size
            self._sending -= count
            self._ended += count
            self._changed.notify_all()

    def _drop(self, count: int, reason: str) -> None:
        if count:
            self._dropped[reason] += count

    def _until_next_log(self) -> float | None:
        """Seconds until drops that were not told may be told. None if there are none."""
        if self._dropped == self._told:
            return None
        return max(0.0, self._told_at + LOG_INTERVAL - time.monotonic())

    def _log_drops(self) -> None:
        with self._changed:
            news = self._news()
        self._log(news)

    def _news(self, *, at_once: bool = False) -> str:
        """What was dropped since the last log line; empty if it is not time for another."""
        wait = self._until_next_log()
        if wait is None or (wait > 0 and not at_once):
            return ""
        dropped = self._dropped.copy()
        new = dropped - self._told
        self._told = dropped
        self._told_at = time.monotonic()
        detail, self._detail = self._detail, ""
        words = [f"{count} {reason}" for reason, count in new.most_common(5)]
        if detail:
            words.append(f"the store said: {detail}")
        if self._last_attempt:
            words.append(f"the last attempt: {self._last_attempt}")
        return f"{new.total()} ({'; '.join(words)})"

    def _news_after_the_end(self) -> str:
        """The news, if there is no thread any more that would tell them."""
        return "" if self._deadline is None else self._news()

    def _log(self, news: str) -> None:
        # Without the lock: a handler may take its time.
        if news:
            logger.warning("Interactions not saved: %s", news)


def _divided(items: list[bytes], error: Refused) -> list[list[bytes]]:
    """The parts of a batch of which the store may take some; none if it takes none of it."""
    if isinstance(error, NotAllowed):  # the key is bound to a user
        by_user: dict[str, list[bytes]] = {}
        for item in items:
            by_user.setdefault(str(json.loads(item)["user_id"]), []).append(item)
        return [*by_user.values()] if len(by_user) > 1 else []
    half = len(items) // 2
    if isinstance(error, InvalidRequest) and half:
        return [items[half:], items[:half]]
    return []


_ALL: weakref.WeakSet[BackgroundStore] = weakref.WeakSet()


def _begin_in_child() -> None:
    for background in list(_ALL):
        background._begin()


def _close_all() -> None:
    for background in list(_ALL):
        background.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
atexit.register(_close_all)
