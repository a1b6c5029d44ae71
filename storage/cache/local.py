"""The in-memory cache of one process, in front of a SQLite database that others write too.

# Note [Valid while the database has not changed]

SQLite's `PRAGMA data_version`, read on a connection that never writes, changes whenever
any other connection, of this process or another, has committed. It is part of every
cached entry's key and is taken before the row is read. So an entry is found only as
long as nothing at all was committed since before its row was read: whatever happens in
between, by any thread or process, an entry that could be stale is never looked up
again and expires. No invalidation can be forgotten, lost or late.
https://sqlite.org/pragma.html#pragma_data_version
"""

import threading
import uuid
from collections.abc import Callable
from sqlite3 import Connection

from django.core.cache.backends.base import BaseCache

from storage import expiry
from storage.cache.keys import interaction_key
from storage.models import ChatInteraction
from storage.records import Stored

Read = Callable[[str], ChatInteraction | None]


class DataVersion:
    """Tells whether a database has changed, through one idle connection of its own."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._opened = ""

    def current(self) -> str:
        """A string that changes with every commit to the database."""
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
                self._opened = uuid.uuid4().hex
            (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return f"{self._opened}.{number}"

    def close(self) -> None:
        """Close the connection; the next look opens another, whose versions are new ones."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class InteractionCache:
    """Read-through and write-through for interactions by id. See Note [Valid while ...]."""

    def __init__(self, cache: BaseCache, data_version: DataVersion, ttl: int) -> None:
        self._cache = cache
        self._data_version = data_version
        self._ttl = ttl

    def get(self, interaction_id: str, read: Read) -> Stored | None:
        """The cached interaction, or the one that `read` finds, which is then cached."""
        version = self._data_version.current()
        key = _key(interaction_id, version)
        entry = self._cache.get(key)
        if entry is not None:
            return Stored(json=entry)
        interaction = read(interaction_id)
        if interaction is None:
            return None
        found = Stored(interaction=interaction)
        self._set(key, found)
        return found

    def put(self, interaction: ChatInteraction, still_newest: Callable[[], bool]) -> None:
        """Cache what was just committed, if `still_newest` says that it is the newest commit.

        It is asked after the data version was taken: then that version is the one which this
        very commit has made, and the row is what the database has at it.
        """
        version = self._data_version.current()
        if still_newest():
            self._set(_key(interaction.interaction_id, version), Stored(interaction=interaction))

    def _set(self, key: str, stored: Stored) -> None:
        seconds = min(self._ttl, expiry.seconds_left(stored.interaction.created_at))
        self._cache.set(key, stored.json, seconds)


def _key(interaction_id: str, version: str) -> str:
    return f"{interaction_key(interaction_id)}:{version}"
