"""Sliding windows in Redis, for several machines. Each change is one script on one key.

The clock is the server's. A value is the JSON string `"window:previous:current"`, the number of the
window and its counts, which `cache_audit` takes for a string of the application.
"""

from typing import Any

from storage.cache.guarded import Guards
from storage.cache.keys import string_key
from storage.rate_limits.windows import RESERVE, WINDOW_MS, Grant, Request, State

# KEYS[1]: the key. ARGV: the quota, the length of a window in ms, how many calls are wanted, how
# many of earlier ones were not made, and the last state that the caller has seen. It counts if the
# server has evicted the key or has lost it; and how many calls must be left for more than one to be
# granted. Returns what `Grant` has.
_TAKE = """
local quota, length = tonumber(ARGV[1]), tonumber(ARGV[2])
local wanted, unused = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, passed = math.floor(now / length), now % length
local function at(state)
  local since, previous, current = string.match(state or '', '(%d+):(%d+):(%d+)')
  if tonumber(since) == window then return tonumber(previous), tonumber(current) end
  if tonumber(since) == window - 1 then return tonumber(current), 0 end
  return 0, 0
end
local previous, current = at(redis.call('GET', KEYS[1]) or ARGV[5])
local since = tonumber(string.match(ARGV[5], '%d+'))
if since == window then current = math.max(0, current - unused) end
if since == window - 1 then previous = math.max(0, previous - unused) end
local used = math.floor(previous * (length - passed) / length) + current
local granted = 0
if wanted > 0 and used < quota then
  granted = used + wanted + tonumber(ARGV[6]) <= quota and wanted or 1
end
current = current + granted
local state = string.format('%d:%d:%d', window, previous, current)
redis.call('SET', KEYS[1], '"' .. state .. '"', 'PX', 2 * length)
return {granted, passed, window, previous, current}
"""


class RedisCounts:
    """The counts of a Redis server or cluster."""

    def __init__(self, cache: Any, guards: Guards) -> None:
        self._cache = cache
        self._guards = guards

    def take(self, request: Request) -> Grant | None:
        key = string_key(f"rate-limit:{request.digest.hex()}")
        arguments = (
            *(request.quota, WINDOW_MS, request.wanted, request.unused),
            *(":".join(map(str, request.seen)), RESERVE),
        )
        return self._guards.of(key).ask(lambda: self._take(key, arguments), None)

    def _take(self, key: str, arguments: tuple[int | str, ...]) -> Grant:
        # EVAL costs a few hundred bytes more than EVALSHA, but the script is never missing.
        client = self._cache.client.get_client(write=True)
        calls, passed_ms, *state = client.eval(_TAKE, 1, key, *arguments)
        return Grant(calls, State(*state), passed_ms)
