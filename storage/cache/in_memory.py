"""The cache in front of SQLite: the memory of one process.

Other processes write the database too, and cannot reach this memory. So each entry has the
version of the database that it was read at, and is a hit only while that is the current version:
any commit, whoever makes it, ends all hits. SQLite tells its version in microseconds, and reads by
id as fast as a hit is served, so nothing more is worth its while (docs/decisions/0004).

A reader takes the version before it reads. So an entry that was read before a commit has a version
from before it, and is never served after it; no lease is needed.

A writer may cache what it has committed if nobody else has committed meanwhile. Its own connection
tells: its version changes with the commits of others only. It takes the new version between its
commit and that second look.

An erased user must go from memory as well, though no entry is served after the commit: the bytes
of entries and the application's strings, which no commit ends. So an erasure counts
`PRAGMA user_version` up, and a process that sees another count empties its memory.
"""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from django.core.cache.backends.base import BaseCache

from storage import expiry
from storage.cache import keys, metrics
from storage.cache.base import Cache, Find, Read, Writing
from storage.cache.metrics import Counts
from storage.exceptions import StorageError
from storage.models import ChatInteraction
from storage.records.json import Stored, to_json
from storage.records.questions import Question

logger = logging.getLogger(__name__)

Entry = tuple[str, bytes]
"""The version of the database, and the JSON of the interaction."""

_BY_ID = metrics.counts_of("interaction")
_ANSWERS = metrics.counts_of("answer")


class Changes(Protocol):
    """Tells whether the database has changed. Raises StorageUnavailable."""

    def version(self) -> str | None:
        """Changes with every commit; None within a transaction, which sees what is its own."""

    def of_others(self) -> int | None:
        """Changes with every commit but those of the calling thread; None as `version` has it."""

    def erasures(self) -> int:
        """Changes with every erasure of a user."""


class InMemoryCache(Cache):
    """Keeps entries and strings in an in-memory cache of Django's, entries for `ttl` seconds."""

    def __init__(self, values: BaseCache, changes: Changes, ttl: float) -> None:
        self._values = values
        self._changes = changes
        self._ttl = ttl
        self._known_version = ""
        self._known_erasures: int | None = None
        self.clears = 0
        """How often memory was emptied. What was read before that is not kept after it."""
        self._lock = threading.Lock()

    def get(self, interaction_id: str, read: Read) -> Stored | None:
        key = keys.interaction_key(interaction_id)
        return self._through(_BY_ID, key, lambda: read(interaction_id))

    def answer(self, question: Question, find: Find, read: Read) -> Stored | None:
        return self._through(_ANSWERS, keys.answer_key(question), lambda: find(question))

    def writing(self, interaction_id: str, interaction: ChatInteraction | None = None) -> Writing:
        return _Writing(self, self._changes)

    def keep_written(self, interaction: ChatInteraction, others: int, clears: int) -> None:
        """Cache what this thread has committed, if others have committed nothing since."""
        try:
            version = self._changes.version()
            if version is None or self._changes.of_others() != others:
                return
        except StorageError as error:  # it is saved all the same
            logger.warning("After a commit that holds: %s", error)
            return
        key = keys.interaction_key(interaction.interaction_id)
        self._keep(key, (version, to_json(interaction)), interaction, clears)

    def erase_user(self, user_id: str) -> None:
        """All goes, whoever it is of: keys in memory cannot be listed."""
        with self._lock:
            self._clear()

    def get_string(self, key: str) -> str | None:
        if not self._knows_erasures():
            return None
        value: str | None = self._values.get(keys.string_key(key))
        return value

    def set_string(self, key: str, value: str, ttl: int) -> None:
        self._knows_erasures()  # else what is kept now might go with an erasure of before
        self._values.set(keys.string_key(key), value, ttl)

    def _knows_erasures(self) -> bool:
        try:
            self._version()
        except StorageError:
            return False
        return True

    def _version(self) -> str | None:
        """The current version. What others have erased is gone from memory before it returns."""
        version = self._changes.version()
        if version is not None and version != self._known_version:
            with self._lock:
                erasures = self._changes.erasures()
                if erasures != self._known_erasures:
                    self._clear()
                    self._known_erasures = erasures
                self._known_version = version
        return version

    def _clear(self) -> None:
        self._values.clear()
        self.clears += 1

    def _through(
        self, counts: Counts, key: str, read: Callable[[], ChatInteraction | None]
    ) -> Stored | None:
        version = self._version()
        clears = self.clears
        found = None if version is None else self._hit(key, version)
        if found is not None:
            counts.hit.inc()
            return found
        interaction = read()
        if interaction is None:
            return None
        found = Stored(interaction=interaction)
        if version is not None:
            counts.miss.inc()
            self._keep(key, (version, found.json), interaction, clears)
        return found

    def _hit(self, key: str, version: str) -> Stored | None:
        entry: Entry | None = self._values.get(key)
        if entry is None or entry[0] != version:
            return None
        found = Stored(json=entry[1])
        return None if expiry.has_expired(found.interaction.created_at) else found

    def _keep(self, key: str, entry: Entry, interaction: ChatInteraction, clears: int) -> None:
        seconds = min(self._ttl, expiry.seconds_left(interaction.created_at))
        with self._lock:
            if clears == self.clears:  # else its user may have been erased since
                self._values.set(key, entry, seconds)


class _Writing(Writing):
    def __init__(self, cache: InMemoryCache, changes: Changes) -> None:
        self._cache = cache
        self._changes = changes

    def __enter__(self) -> Self:
        self._clears = self._cache.clears
        self._others = self._changes.of_others()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and self.committed is not None and self._others is not None:
            self._cache.keep_written(self.committed, self._others, self._clears)
