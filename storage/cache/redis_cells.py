"""The cells of `storage.cache.leases` in Redis. Each change is one script.

On a server of its own, the script also sets the marks of the other keys of a write: one command in
place of several takes half the CPU time. Redis Cluster allows a script only one key without hash
tags, so there the marks follow in a pipeline.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags

redis-py repeats a command that got no answer, and the first copy may reach the server long after
the second. It would then restore an old lease or mark, with which its reader or writer could store
an outdated value. So the server's time is part of the token. The two copies get different tokens,
and the client knows only the one that was answered.

A server whose memory is full, and that may evict nothing, refuses marks and values. It does delete:
so a write that cannot be marked deletes what is cached, and then raises the error.
"""

from collections.abc import Callable, Sequence
from typing import Any

from redis.cluster import RedisCluster
from redis.exceptions import OutOfMemoryError, ResponseError

from storage.cache import erasure
from storage.cache.leases import BUSY, LEASE_SECONDS, Cell

NOT_OURS = b""
"""Stands for a value of another Redis type. No cell of this project is empty."""

_AT_ONCE = 500
"""Keys in one round trip."""

_LEASE_MS = int(LEASE_SECONDS * 1000)

# KEYS[1]: the key. ARGV: the token and, if there is one, the value and its lifetime in ms.
# Returns 1 if the lease still existed.
_FILL = """
if redis.call('GET', KEYS[1]) ~= 'T' .. ARGV[1] then return 0 end
if ARGV[2] then
  redis.call('SET', KEYS[1], 'V' .. ARGV[2], 'PX', ARGV[3])
else
  redis.call('DEL', KEYS[1])
end
return 1
"""

_TIMED = """
local time = redis.call('TIME')
local token = ARGV[1] .. '.' .. time[1] .. '.' .. time[2]
"""

# KEYS[1]: the key. ARGV: the start of the token, the lifetime of a lease in ms. Returns the token.
_LEASE = f"""
if redis.call('GET', KEYS[1]) then return false end
{_TIMED}
redis.call('SET', KEYS[1], 'T' .. token, 'PX', ARGV[2])
return token
"""

# As _LEASE.
_BEGIN = f"""
local cell = redis.call('GET', KEYS[1])
local tag = cell and string.sub(cell, 1, 1)
{_TIMED}
if tag == 'B' or tag == 'X' then
  redis.call('SET', KEYS[1], 'X', 'PX', ARGV[2])
else
  redis.call('SET', KEYS[1], 'B' .. token, 'PX', ARGV[2])
end
return token
"""

# KEYS[1]: the key. ARGV: the token, the lifetime of a lease in ms and, if there is one, the value
# and its lifetime in ms.
_END = """
local cell = redis.call('GET', KEYS[1])
if not cell or cell == 'X' then return end
if cell == 'B' .. ARGV[1] and ARGV[3] then
  redis.call('SET', KEYS[1], 'V' .. ARGV[3], 'PX', ARGV[4])
elseif cell ~= 'B' .. ARGV[1] and string.sub(cell, 1, 1) == 'B' then
  redis.call('SET', KEYS[1], 'X', 'PX', ARGV[2])
else
  redis.call('DEL', KEYS[1])
end
"""

# KEYS[1]: the key. If its value is no string, GET fails, and pcall returns the error as a table.
_DROP = """
local cell = redis.pcall('GET', KEYS[1])
if type(cell) == 'string' then
  local tag = string.sub(cell, 1, 1)
  if cell == 'X' or ((tag == 'T' or tag == 'B') and #cell <= 64) then return end
end
redis.call('DEL', KEYS[1])
"""

# KEYS[1]: the key. A mark of several writers needs no other one.
_INVALIDATE = """
if redis.call('GET', KEYS[1]) ~= 'X' then redis.call('DEL', KEYS[1]) end
"""

# Goes before _BEGIN or _END. KEYS[2] and on: the keys to mark. ARGV[2]: the lifetime in ms.
_MARKS = """
for number = 2, #KEYS do redis.call('SET', KEYS[number], 'X', 'PX', ARGV[2]) end
"""


class RedisCells:
    """The cells of a Redis server or cluster. Every method may raise errors of the client."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def get(self, key: str) -> Cell:
        """Returns the cell, or NOT_OURS if it is no string."""
        try:
            found: Cell = self._client.get(key)
        except ResponseError as error:
            if "WRONGTYPE" in str(error):
                return NOT_OURS
            raise
        return found

    def lease(self, key: str, token: bytes) -> bytes | None:
        """Take a reader's lease. Returns its token, or None without a lease."""
        found: bytes | None = self._client.eval(_LEASE, 1, key, token, _LEASE_MS)
        return found

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        """Replace the lease by a value, or end it if None. Returns whether it still existed."""
        return bool(self._client.eval(_FILL, 1, key, token, *_given(value, seconds)))

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bytes:
        """Mark `key` before a commit, and the keys `marked`. Returns the writer's token."""
        found: bytes = self._change((_BEGIN, key, token, _LEASE_MS), marked)
        return found

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        """Cache `value` for `seconds` after its commit, or remove the key if None."""
        self._change((_END, key, token, _LEASE_MS, *_given(value, seconds)), marked)

    def mark(self, keys: Sequence[str]) -> None:
        """Mark keys before or after a commit on which their values depend."""
        try:
            for start in range(0, len(keys), _AT_ONCE):
                pipeline = self._client.pipeline(transaction=False)
                for key in keys[start : start + _AT_ONCE]:
                    pipeline.set(key, BUSY, px=_LEASE_MS)
                pipeline.execute()
        except OutOfMemoryError:
            self._invalidate(keys)
            raise

    def drop(self, key: str) -> None:
        """Remove a cell, unless it is a lease or a mark."""
        self._client.eval(_DROP, 1, key)

    def erase_user(self, user_id: str, check_time: Callable[[], None] = lambda: None) -> int:
        """See `storage.cache.erasure`."""
        return erasure.erase_user(self._client, user_id, check_time)

    def _invalidate(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _AT_ONCE):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys[start : start + _AT_ONCE]:
                pipeline.execute_command("EVAL", _INVALIDATE, 1, key)
            pipeline.execute()

    def _change(self, change: tuple[Any, ...], marked: Sequence[str]) -> Any:
        try:
            return self._changed(change, marked)
        except OutOfMemoryError:
            self._invalidate([change[1], *marked])
            raise

    def _changed(self, change: tuple[Any, ...], marked: Sequence[str]) -> Any:
        # EVAL costs a few hundred bytes more than EVALSHA, but the script is never missing.
        script, key, *arguments = change
        client = self._client
        if not marked:
            return client.eval(script, 1, key, *arguments)
        if not _is_cluster(client):
            return client.eval(_MARKS + script, 1 + len(marked), key, *marked, *arguments)
        pipeline = client.pipeline(transaction=False)  # one round trip to each server
        pipeline.execute_command("EVAL", script, 1, key, *arguments)  # it has no method `eval`
        for other in marked:
            pipeline.set(other, BUSY, px=_LEASE_MS)
        return pipeline.execute()[0]

    @property
    def _client(self) -> Any:
        """The client of django-redis. It connects when it is first used."""
        return self._cache.client.get_client(write=True)


def _is_cluster(client: Any) -> bool:
    return isinstance(client, RedisCluster)


def _given(value: bytes | None, seconds: float) -> tuple[bytes | int, ...]:
    """The arguments of a script for a value and its lifetime in ms."""
    return () if value is None else (value, max(1, int(seconds * 1000)))
