"""Sliding windows in Redis, for several machines. Each change is one script on one key.

The clock is the server's. A value is the JSON string `"index:previous:current"`, the number of the
window and its counts, which `cache_audit` takes for a string of the application.
"""

from typing import Any, NamedTuple

from storage.cache.keys import string_key
from storage.rate_limits.windows import WINDOW_MS

# KEYS[1]: the key. ARGV: the quota, the length of a window in ms, how many calls are wanted, how
# many of earlier ones were not made, and the last state that the caller has seen. It counts if the
# server has evicted the key or has lost it. More than one call is granted only in the first half of
# the quota, so that nobody is refused for calls that others do not make.
_TAKE = """
local quota, length = tonumber(ARGV[1]), tonumber(ARGV[2])
local wanted, unused = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local index, passed = math.floor(now / length), now % length
local function at(state)
  local since, previous, current = string.match(state or '', '(%d+):(%d+):(%d+)')
  if tonumber(since) == index then return tonumber(previous), tonumber(current) end
  if tonumber(since) == index - 1 then return tonumber(current), 0 end
  return 0, 0
end
local previous, current = at(redis.call('GET', KEYS[1]) or ARGV[5])
local since = tonumber(string.match(ARGV[5], '%d+'))
if since == index then current = math.max(0, current - unused) end
if since == index - 1 then previous = math.max(0, previous - unused) end
local used = math.floor(previous * (length - passed) / length) + current
local granted = 0
if wanted > 0 and used < quota then
  granted = used + wanted <= quota / 2 and wanted or 1
end
current = current + granted
local state = string.format('%d:%d:%d', index, previous, current)
redis.call('SET', KEYS[1], '"' .. state .. '"', 'PX', 2 * length)
return {granted, previous, current, passed, state}
"""


class Grant(NamedTuple):
    """What the server has granted, and the window with it."""

    granted: int
    previous: int
    current: int
    passed_ms: int
    """How long the current window has lasted."""
    state: str

    @property
    def left_ms(self) -> int:
        """How long it still lasts."""
        return WINDOW_MS - self.passed_ms


class RedisWindows:
    """The windows of a Redis server or cluster. Methods may raise errors of the client."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def take(self, key: str, quota: int, wanted: int, unused: int, state: str) -> Grant:
        """Ask for calls; `unused` of those granted with `state` were not made."""
        # EVAL costs a few hundred bytes more than EVALSHA, but the script is never missing.
        client = self._cache.client.get_client(write=True)
        arguments = quota, WINDOW_MS, wanted, unused, state
        granted, previous, current, passed_ms, new = client.eval(_TAKE, 1, key, *arguments)
        return Grant(granted, previous, current, passed_ms, new.decode())


def redis_key(digest: bytes) -> str:
    """The key in Redis. It tells nothing of who calls."""
    return string_key(f"rate-limit:{digest.hex()}")
