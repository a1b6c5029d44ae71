"""Interactions in Redis: by id, and as the newest answer to a message.

The key of an id holds the interaction itself. The keys of a message hold only the id of the newest
answer. That interaction is then read by its id, which shows whether it still answers the message.
So a change or a deletion invalidates one key, that of the id. A new answer also invalidates the
keys of its message.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import orjson
from django_redis.cache import RedisCache

from storage import expiry, limits
from storage.cache import keys, metrics
from storage.cache.audit import audit_cache
from storage.cache.base import Cache, Find, Read, ReadStored, Writing
from storage.cache.guarded import GuardedCache, Guards
from storage.cache.leases import LEASE_SECONDS, VALUE_MAX_BYTES
from storage.cache.read_through import Reading, ReadThrough, Unreadable, new_token
from storage.cache.reliable_cells import ReliableCells
from storage.exceptions import CacheNotErased, StorageUnavailable
from storage.models import ChatInteraction
from storage.records.audit import Audit
from storage.records.json import Stored, to_json
from storage.records.questions import Question


class LeasedCache(Cache):
    """Keeps entries in `cells`, for up to `ttl` seconds and never past their expiry."""

    def __init__(
        self, cells: ReliableCells, ttl: float, strings: GuardedCache, server: RedisCache
    ) -> None:
        self.cells = cells
        self._ttl = ttl
        self._strings = strings
        self.server = server
        self.through = ReadThrough(cells)

    @property
    def guards(self) -> Guards:
        """The circuit breakers of the server. Whoever else asks it shares them."""
        return self._strings.guards

    def state(self) -> str:
        return "away" if self.guards.are_open else "redis"

    def get_stored(self, interaction_id: str, read: ReadStored) -> Stored | None:
        return self.through.get(_ById(self, interaction_id, read))

    def answer(self, question: Question, find: Find, read: Read) -> Stored | None:
        return self.through.get(_Answer(self, question, find, read))

    def writing(self, interaction_id: str, interaction: ChatInteraction | None = None) -> Writing:
        marked = [] if interaction is None else keys.answer_keys(interaction)
        return _Writing(self, keys.interaction_key(interaction_id), marked)

    def get_string(self, key: str) -> str | None:
        return self._strings.get(key)

    def set_string(self, key: str, value: str, ttl: int) -> None:
        self._strings.set(key, value, ttl)

    def audit(self, read: Read, find: Find, sample: int | None) -> Audit:
        return audit_cache(self.server, self.cells.usable, read, find, sample)

    @contextmanager
    def creating(self, interactions: Sequence[ChatInteraction]) -> Iterator[None]:
        # Only the keys of answers: nothing is cached under ids that do not exist.
        with self._marking({key for new in interactions for key in keys.answer_keys(new)}):
            yield

    @contextmanager
    def moving(self, interaction_ids: Sequence[str]) -> Iterator[None]:
        with self._marking(set(map(keys.interaction_key, interaction_ids))):
            yield

    @contextmanager
    def _marking(self, marked: Set[str]) -> Iterator[None]:
        self.cells.mark(list(marked))
        try:
            yield
        finally:
            self.cells.mark_again(list(marked))

    @contextmanager
    def erasing(self, interactions: Sequence[ChatInteraction]) -> Iterator[None]:
        marked = {keys.interaction_key(gone.interaction_id) for gone in interactions}
        marked.update(key for gone in interactions for key in keys.answer_keys(gone))
        self._confirm(list(marked))
        try:
            yield
        except BaseException:
            self.cells.mark(list(marked))  # part of it may be done, or take effect later
            raise
        self._confirm(list(marked))

    def erase_user(self, user_id: str, check_time: Callable[[], None] = lambda: None) -> int:
        return self.cells.erase_user(user_id, check_time)

    def _confirm(self, marked: Sequence[str]) -> None:
        if not self.cells.confirmed_mark(marked):
            raise CacheNotErased

    def seconds_for(self, created_at: datetime) -> float:
        """How long an interaction of that time may be cached, in seconds."""
        return min(self._ttl, expiry.seconds_left(created_at))


class _Writing(Writing):
    """Marks a key, and the keys of answers that depend on it, before and after a write."""

    def __init__(self, cache: LeasedCache, key: str, marked: Sequence[str]) -> None:
        self._cache = cache
        self._cells = cache.cells
        self._key = key
        self._marked = list(marked)
        self._token: bytes | None = None

    def will_commit(self, interaction: ChatInteraction) -> None:
        new = [key for key in keys.answer_keys(interaction) if key not in self._marked]
        self._marked += new
        self._cells.mark(self._marked)

    def __enter__(self) -> Self:
        self._token = self._cells.begin(self._key, new_token(), self._marked)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, StorageUnavailable):
            # The write may take effect later, so the key stays busy until the mark expires.
            self._cells.mark([self._key, *self._marked])
        elif error is not None or self.committed is None or self._token is None:
            self._cells.end(self._key, self._token or b"", None, 0, self._marked)
        else:
            seconds = self._cache.seconds_for(self.committed.created_at)
            value = _value_of(self.committed)
            self._cells.end(self._key, self._token, value, seconds, self._marked)


def _value_of(committed: ChatInteraction) -> bytes | None:
    """As `_value`, without a copy of what was committed."""
    if len(committed.message) + len(committed.response) > VALUE_MAX_BYTES:
        return None
    json = to_json(committed)
    return json if len(json) <= VALUE_MAX_BYTES else None


def _value(found: Stored) -> bytes | None:
    """What is cached of an interaction; None if that is too large."""
    if found.least_bytes > VALUE_MAX_BYTES:
        return None
    json = found.json
    return json if len(json) <= VALUE_MAX_BYTES else None


class _ById(Reading[Stored]):
    counts = metrics.counts_of("interaction")

    def __init__(self, cache: LeasedCache, interaction_id: str, read: ReadStored) -> None:
        self.key = keys.interaction_key(interaction_id)
        self._cache = cache
        self._interaction_id = interaction_id
        self._read = read

    def from_cache(self, value: bytes) -> Stored | None:
        if len(value) > VALUE_MAX_BYTES:
            raise Unreadable
        try:
            found = Stored.from_json(value)
        except (ValueError, RecursionError) as error:
            raise Unreadable from error
        if found.interaction_id != self._interaction_id:
            raise Unreadable
        return None if expiry.has_expired(found.created_at) else found

    def from_database(self) -> Stored | None:
        return self._read(self._interaction_id)

    def to_cache(self, found: Stored) -> tuple[bytes | None, float]:
        return _value(found), self._cache.seconds_for(found.created_at)


class _Answer(Reading[Stored]):
    counts = metrics.counts_of("answer")
    lag = LEASE_SECONDS

    def __init__(self, cache: LeasedCache, question: Question, find: Find, read: Read) -> None:
        self.key = keys.answer_key(question)
        self._cache = cache
        self._question = question
        self._find = find
        self._read = read

    def from_cache(self, value: bytes) -> Stored | None:
        try:
            interaction_id: Any = orjson.loads(value) if len(value) <= VALUE_MAX_BYTES else None
        except ValueError as error:
            raise Unreadable from error
        if limits.identifier_violation(interaction_id):
            raise Unreadable
        found = self._cache.get(interaction_id, self._read)
        if found is None or not self._question.is_answered_by(found.interaction):
            return None
        return found

    def from_database(self) -> Stored | None:
        interaction = self._find(self._question, self._by_id)
        return None if interaction is None else Stored.of(interaction)

    def _by_id(self, interaction_id: str) -> ChatInteraction | None:
        """Through the cache: whoever is given this answer by the cache reads it by id next."""
        found = self._cache.get(interaction_id, self._read)
        return None if found is None else found.interaction

    def to_cache(self, found: Stored) -> tuple[bytes | None, float]:
        return orjson.dumps(found.interaction_id), self._cache.seconds_for(found.created_at)
