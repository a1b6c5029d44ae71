"""The cells of `storage.cache.leases` in Redis: each change is one script on one key.

One key a script is what Redis Cluster allows without hash tags.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
"""

from typing import Any

from storage.cache.leases import LEASE_SECONDS, Cell

_LEASE_MS = int(LEASE_SECONDS * 1000)

# KEYS[1]: the key. ARGV: token, value, life of the value in ms. Texts are compared as bytes.
_FILL = """
if redis.call('GET', KEYS[1]) == 'T' .. ARGV[1] then
  redis.call('SET', KEYS[1], 'V' .. ARGV[2], 'PX', ARGV[3])
end
"""

# KEYS[1]: the key. ARGV: token, life of a lease in ms.
_BEGIN = """
local cell = redis.call('GET', KEYS[1])
local tag = cell and string.sub(cell, 1, 1)
if tag == 'B' or tag == 'X' then
  redis.call('SET', KEYS[1], 'X', 'PX', ARGV[2])
else
  redis.call('SET', KEYS[1], 'B' .. ARGV[1], 'PX', ARGV[2])
end
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


class RedisCells:
    """The cells of a Redis server or cluster. Every method may raise what the client raises."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def get(self, key: str) -> Cell:
        """The cell."""
        found: Cell = self._client.get(key)
        return found

    def lease(self, key: str, token: bytes) -> bool:
        """Whether the reader has the lease."""
        return bool(self._client.set(key, b"T" + token, nx=True, px=_LEASE_MS))

    def fill(self, key: str, token: bytes, value: bytes, seconds: float) -> None:
        """Put the value there for so many seconds, if the lease is still the reader's."""
        self._run(_FILL, key, token, value, _milliseconds(seconds))

    def begin(self, key: str, token: bytes) -> None:
        """A writer is about to commit."""
        self._run(_BEGIN, key, token, _LEASE_MS)

    def end(self, key: str, token: bytes, value: bytes | None, seconds: float) -> None:
        """A writer has committed; a value stays for so many seconds."""
        committed = () if value is None else (value, _milliseconds(seconds))
        self._run(_END, key, token, _LEASE_MS, *committed)

    def delete(self, key: str) -> None:
        """Whatever is there goes."""
        self._client.delete(key)

    def _run(self, script: str, key: str, *arguments: bytes | int) -> None:
        # EVAL and not EVALSHA: a few hundred bytes more, and no server that lacks the script.
        self._client.eval(script, 1, key, *arguments)

    @property
    def _client(self) -> Any:
        """The connection of django-redis; it connects when it is first used."""
        return self._cache.client.get_client(write=True)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
