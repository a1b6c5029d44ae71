"""The cache in front of SQLite: the memory of one process.

Other processes also write to the database and cannot reach this memory. So an entry stores the
version of the database at which it was read, and is a hit only while that is the current version.
Any commit, by any process, invalidates all entries. SQLite returns its version in microseconds and
reads a row as fast as a hit is served, so nothing finer pays off (docs/decisions/0004).

A reader takes the version before it reads, or the one that was seen last. So an entry that was read
before a commit carries an older version and is never served after that commit. No lease is needed.

A writer caches what it has committed at the version right after its commit, which costs nothing to
know: it is the version that was seen last, with one more commit of this process. If others have
committed since, the current version is another one by now, and the entry is never served.

An erasure must also empty this memory. No commit removes the bytes of old entries, or the strings
of the application. So an erasure increments `PRAGMA user_version`, and a process that sees a new
value clears its memory.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from django.core.cache.backends.base import BaseCache

from storage import expiry
from storage.cache import keys, metrics
from storage.cache.base import Cache, Find, Read, ReadStored, Writing
from storage.cache.leases import VALUE_MAX_BYTES
from storage.cache.metrics import Counts
from storage.exceptions import NoSharedCache, StorageError
from storage.models import ChatInteraction
from storage.records.audit import Audit
from storage.records.json import Stored
from storage.records.questions import Question

T = TypeVar("T")
Version = tuple[int, ...]

Entry = tuple[Version, Stored]
"""The version of the database, and the interaction."""

LONGEST_WITHOUT_LOOK = 1.0
"""Seconds until a read asks for the version, if only to learn of an erasure by another process."""

_BY_ID = metrics.counts_of("interaction")
_ANSWERS = metrics.counts_of("answer")


class Changes(Protocol):
    """Detects changes of the database. Every method may raise StorageUnavailable."""

    def version(self) -> Version | None:
        """A value that changes with every commit.

        None inside a transaction, which may see its own uncommitted changes, and while this process
        commits.
        """

    def last_version(self) -> Version | None:
        """As `version`, if no other process has committed since that was called. It asks nobody."""

    def committed_as(self) -> Version | None:
        """The version right after the last write of the calling thread. None if it is unknown.

        Never a version at which something else is stored under the id that was written.
        """

    def erasures(self) -> int:
        """A number that changes with every erasure of a user."""


class InMemoryCache(Cache):
    """Keeps entries and strings in Django's in-memory cache, entries for up to `ttl` seconds."""

    def __init__(self, values: BaseCache, changes: Changes, ttl: float) -> None:
        self._values = values
        self._changes = changes
        self._ttl = ttl
        self._known_version: Version = ()
        self._known_erasures: int | None = None
        self._looked_at = -LONGEST_WITHOUT_LOOK
        self.clears = 0
        """How often memory was emptied. What was read before the last time is not cached."""
        self._lock = threading.Lock()

    def get_stored(self, interaction_id: str, read: ReadStored) -> Stored | None:
        return self._through(_BY_ID, _key(interaction_id), read, interaction_id)

    def answer(self, question: Question, find: Find, read: Read) -> Stored | None:
        def found(question: Question) -> Stored | None:
            interaction = find(question, read)
            return None if interaction is None else Stored.of(interaction)

        return self._through(_ANSWERS, keys.answer_key(question), found, question)

    def writing(self, interaction_id: str, interaction: ChatInteraction | None = None) -> Writing:
        if self._known_erasures is None:
            self._knows_erasures()  # the first look clears the memory, so it must come before
        return _Writing(self)

    def keep_written(self, interaction: ChatInteraction, clears: int) -> None:
        """Cache what this thread has just committed."""
        version = self._changes.committed_as()
        if version is not None:
            key = _key(interaction.interaction_id)
            self._keep(key, (version, Stored.of(interaction)), clears)

    def erase_user(self, user_id: str, check_time: Callable[[], None] = lambda: None) -> None:
        """Clear everything, of other users too: keys in memory cannot be listed."""
        with self._lock:
            self._clear()

    def get_string(self, key: str) -> str | None:
        if not self._knows_erasures():
            return None
        value: str | None = self._values.get(keys.string_key(key))
        return value

    def state(self) -> str:
        return "memory"

    def set_string(self, key: str, value: str, ttl: int) -> None:
        self._knows_erasures()  # or an earlier erasure, noticed later, would delete this string
        self._values.set(keys.string_key(key), value, ttl)

    def audit(self, read: Read, find: Find, sample: int | None) -> Audit:
        raise NoSharedCache(
            "Each server has its cache in its own memory, where no other process can look."
        )

    def _knows_erasures(self) -> bool:
        """Take note of erasures by other processes. Returns whether the database answered."""
        try:
            if (
                self._version() is None
            ):  # in a transaction, which erasures by others do not wait for
                with self._lock:
                    self._clear_if_erased()
        except StorageError:
            return False
        return True

    def _version(self) -> Version | None:
        """The current version. Clears the memory first if another process has erased a user."""
        self._looked_at = time.monotonic()
        version = self._changes.version()
        if version is not None and version != self._known_version:
            with self._lock:
                self._clear_if_erased()
                self._known_version = version
        return version

    def _clear_if_erased(self) -> None:
        erasures = self._changes.erasures()
        if erasures != self._known_erasures:
            self._clear()
            self._known_erasures = erasures

    def _clear(self) -> None:
        self._values.clear()
        self.clears += 1

    def _through(
        self, counts: Counts, key: str, read: Callable[[T], Stored | None], asked: T
    ) -> Stored | None:
        entry: Entry | None = self._values.get(key)
        version = self._last_version() if entry is None else self._version()
        clears = self.clears
        if entry is not None and entry[0] == version and not _has_expired(entry):
            counts.hit.inc()
            return entry[1]
        found = read(asked)
        if version is not None:
            counts.miss.inc()
            if found is not None:
                self._keep(key, (version, found), clears)
        return found

    def _last_version(self) -> Version | None:
        """For an entry that is made now. To ask SQLite would cost half as much as the row.

        The entry is a hit only if the version is still that one when it is looked at.
        """
        if time.monotonic() - self._looked_at > LONGEST_WITHOUT_LOOK:
            return self._version()
        return self._changes.last_version()

    def _keep(self, key: str, entry: Entry, clears: int) -> None:
        if entry[1].least_bytes > VALUE_MAX_BYTES:
            return
        with self._lock:
            if clears == self.clears:  # otherwise its user may have been erased
                self._values.set(key, entry, self._ttl)


def _key(interaction_id: str) -> str:
    """Without a hash, unlike those of `keys`: nobody else sees it, and it equals none of them."""
    return f"interaction:{interaction_id}"


def _has_expired(entry: Entry) -> bool:
    return expiry.has_expired(entry[1].created_at)


class _Writing(Writing):
    def __init__(self, cache: InMemoryCache) -> None:
        self._cache = cache
        self._clears = cache.clears

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and self.committed is not None:
            self._cache.keep_written(self.committed, self._clears)
