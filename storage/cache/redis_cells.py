"""The cells of `storage.cache.leases` in Redis: each change is one script on one key.

One key a script is what Redis Cluster allows without hash tags.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags

# Note [A command that arrives twice]

redis-py sends a command again when its answer does not come, and the first copy may arrive long
after the second. A lease or a mark that came back so, with the same token, would let its reader or
writer put what is out of date. So the server's time becomes part of the token: the copies differ,
and only the one that was answered is known to the client.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from storage.cache import erasure
from storage.cache.leases import BUSY, LEASE_SECONDS, Cell

NOT_OURS = b""
"""Stands for what is no string: no cell of this project is empty."""

_AT_ONCE = 500
"""Keys in one round trip."""

_LEASE_MS = int(LEASE_SECONDS * 1000)

# KEYS[1]: the key. ARGV: token and, if there is one, the value and its life in ms.
# Texts are compared as bytes. Gives 1 if the lease was still there.
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

# KEYS[1]: the key. ARGV: beginning of the token, life of a lease in ms. Gives the token.
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

# KEYS[1]: the key. ARGV: token, life of a lease in ms and, if there is one, the value and its
# life in ms.
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

# KEYS[1]: the key. What is no string makes GET an error, which pcall gives as a table.
_DROP = """
local cell = redis.pcall('GET', KEYS[1])
if type(cell) == 'string' then
  local tag = string.sub(cell, 1, 1)
  if cell == 'X' or ((tag == 'T' or tag == 'B') and #cell <= 64) then return end
end
redis.call('DEL', KEYS[1])
"""


class RedisCells:
    """The cells of a Redis server or cluster. Every method may raise what the client raises."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def get(self, key: str) -> Cell:
        """The cell; NOT_OURS if it is no string."""
        try:
            found: Cell = self._client.get(key)
        except ResponseError as error:
            if "WRONGTYPE" in str(error):
                return NOT_OURS
            raise
        return found

    def lease(self, key: str, token: bytes) -> bytes | None:
        """The token of the reader's lease; None if it has none."""
        found: bytes | None = self._client.eval(_LEASE, 1, key, token, _LEASE_MS)
        return found

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        """Put the value there for so many seconds, or give the lease back, if it is still there."""
        return bool(self._client.eval(_FILL, 1, key, token, *_given(value, seconds)))

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bytes:
        """A writer is about to commit `key`, and what `marked` follow from. Gives its token."""
        found: bytes = self._change((_BEGIN, key, token, _LEASE_MS), marked)
        return found

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        """A writer has committed; a value stays for so many seconds."""
        self._change((_END, key, token, _LEASE_MS, *_given(value, seconds)), marked)

    def mark(self, keys: Sequence[str]) -> None:
        """A writer is about to commit, or has committed, what the keys follow from."""
        for start in range(0, len(keys), _AT_ONCE):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys[start : start + _AT_ONCE]:
                pipeline.set(key, BUSY, px=_LEASE_MS)
            pipeline.execute()

    def drop(self, key: str) -> None:
        """Remove what is neither a lease nor a writer's mark."""
        self._client.eval(_DROP, 1, key)

    def delete(self, *keys: str) -> None:
        """Whatever is there goes."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.delete(key)
        pipeline.execute()

    def erase_user(self, user_id: str) -> int:
        """See `storage.cache.erasure`."""
        return erasure.erase_user(self._client, user_id)

    def _change(self, change: tuple[Any, ...], marked: Sequence[str]) -> Any:
        # EVAL and not EVALSHA: a few hundred bytes more, and no server that lacks the script.
        script, key, *arguments = change
        if not marked:
            return self._client.eval(script, 1, key, *arguments)
        pipeline = self._client.pipeline(transaction=False)  # one round trip to each server
        pipeline.execute_command("EVAL", script, 1, key, *arguments)  # a cluster's has no eval
        for other in marked:
            pipeline.set(other, BUSY, px=_LEASE_MS)
        return pipeline.execute()[0]

    @property
    def _client(self) -> Any:
        """The connection of django-redis; it connects when it is first used."""
        return self._cache.client.get_client(write=True)


def _given(value: bytes | None, seconds: float) -> tuple[bytes | int, ...]:
    """A value and its life in ms, as the scripts take them."""
    return () if value is None else (value, max(1, int(seconds * 1000)))
