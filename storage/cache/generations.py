"""Generations of cached values: what becomes of invalidations that the cache server did not get.

The keys are divided into groups, and the database has a number for each: its generation. Whoever
caches a value adds the generation that was known before the value was read. A writer that cannot
reach the cache server starts a new generation of its keys' groups, in the database, after its
commit and before its write is acknowledged. From then on no process uses what was cached in the
groups before. So nothing is lost with a process, and there is nothing to repeat.

A process looks at the generations once a second while it is in use, and before it uses the first
value. So what another process could not invalidate may be shown for about a second. If the
database does not answer, what is known stays in use: other processes may still be served, but
for a wrong value a second server would have to fail at the same time.
"""

import logging
import threading
import time
from collections.abc import Collection, Mapping
from typing import Protocol

from storage.cache import background
from storage.exceptions import StorageUnavailable

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Seconds between two looks at the database."""

LOOKS_UNUSED = 10
"""Looks after which a process that uses no cached values stops looking."""

LONGEST_LOOK = 15.0
"""Seconds after which every look has ended. Without one for so long, no value is used."""


class Store(Protocol):
    """Keeps the generations. Both methods return those of all groups that ever had a new one.

    They may raise StorageUnavailable.
    """

    def read(self) -> Mapping[str, int]:
        """Returns what is there now, all commits included."""

    def advance(self, groups: Collection[str]) -> Mapping[str, int]:
        """Start a new generation of these groups, and return what is there then."""


class Generations:
    """What a process knows of the generations. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Mapping[str, int] | None = None
        self._learned: dict[str, float] = {}
        """When this process learned of a group's generation (`time.monotonic`)."""
        self._looked = 0.0
        """When the latest look began."""
        self._usable_until = 0.0
        self._unused = 0
        self._thread_runs = False
        self._looking = threading.Lock()
        self._learning = threading.Lock()
        self._advancing = threading.Lock()
        self._next = _Advance()

    def current(self, group: str, since: float) -> int | None:
        """Returns the generation whose values may be used, or None if it is unknown.

        It is known from a look that began after `since` (`time.monotonic`), which has passed.
        """
        self._unused = 0
        if self._looked < since or self._usable_until < time.monotonic():
            self._look(since)
        return None if self._known is None else self._known.get(group, 0)

    def known(self, group: str, lag: float = 0.0) -> int | None:
        """Returns the generation of what is about to be read and cached, as far as is known.

        None if nothing is known; or if it began less than `lag` seconds ago, since what is read
        may lag behind by so much.
        """
        if self._known is None:
            return self.current(group, 0.0)
        generation = self._known.get(group, 0)
        if lag and generation and time.monotonic() < self._learned[group] + lag:
            return None
        return generation

    def advance(self, groups: Collection[str]) -> None:
        """Start a new generation of these groups. Raises StorageUnavailable.

        Calls that come while another is under way share the next one.
        """
        with self._learning:
            advance = self._next
            advance.groups.update(groups)
        with self._advancing:
            if not advance.is_done:
                self._do(advance)
        if advance.error is not None:
            raise StorageUnavailable(str(advance.error)) from advance.error

    def _do(self, advance: "_Advance") -> None:
        with self._learning:
            self._next = _Advance()
        try:
            self._learn(self._store.advance(advance.groups))
        except StorageUnavailable as error:
            advance.error = error
        advance.is_done = True

    def _look(self, since: float) -> None:
        with self._looking:
            if self._looked < since or self._usable_until < time.monotonic():
                if not self._thread_runs:
                    self._thread_runs = background.repeat(self.look_again, PAUSE_SECONDS)
                self._look_now()

    def look_again(self) -> bool:
        """Look, unless a look has just been made. Returns False if that is no longer needed."""
        with self._looking:
            self._unused += 1
            if self._unused > LOOKS_UNUSED:
                self._usable_until, self._thread_runs = 0.0, False
                return False
            if self._looked + PAUSE_SECONDS <= time.monotonic():
                self._look_now()
            return True

    def _look_now(self) -> None:
        began = time.monotonic()
        try:
            self._learn(self._store.read())
        except StorageUnavailable as error:
            logger.debug("The generations of cached values cannot be read: %s", error)
        self._looked = began
        self._usable_until = began + (LONGEST_LOOK if self._thread_runs else PAUSE_SECONDS)

    def _learn(self, found: Mapping[str, int]) -> None:
        """Never goes back: answers may arrive in another order than they were given."""
        with self._learning:
            before = self._known or {}
            newer = {group: n for group, n in found.items() if n > before.get(group, 0)}
            self._learned |= dict.fromkeys(newer, time.monotonic())
            if newer or self._known is None:
                self._known = {**before, **newer}


class _Advance:
    """One request for new generations, for several calls."""

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.is_done = False
        self.error: StorageUnavailable | None = None
