"""Removes all data of a user from Redis, and checks that none is left.

The user's keys hold the application's strings and the newest answers. Keys of interactions do not
name the user, so their values are searched for the user's id. Deleting the rows has marked their
keys, but a row may have been deleted earlier, by a process that could not reach the cache.

Under keys of interactions, leases of readers are deleted and marks of writers are set to BUSY. So
no reader or writer that started earlier can fill the key with old data. Because of this, a few
reads of other users miss the cache.
"""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
from redis.cluster import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import RedisClusterException

from storage.cache import inspection
from storage.cache.keys import INTERACTION_KEYS, is_key_of, user_pattern
from storage.cache.leases import LEASE_SECONDS
from storage.compat import batched

AT_ONCE = 500
"""Keys in one round trip."""

SEARCHED_AT_ONCE = 50
"""Keys of interactions in one round trip. With values of 400 KB it takes the server 30 ms."""

PER_SCAN = 1000
"""Keys that a server examines in one SCAN, about. That blocks it for about 0.2 ms."""

PASSES = 10
"""The most passes. After so many, something adds entries as fast as they are removed."""

_IS_MARK = """
local tag = type(cell) == 'string' and string.sub(cell, 1, 1)
local is_mark = cell == 'X' or ((tag == 'T' or tag == 'B') and #cell <= 64)
"""

# KEYS[1]: the key. Returns 1 if it held more than a lease or a mark. If its value is no string, GET
# fails, and pcall returns the error as a table.
_ERASE = f"""
local cell = redis.pcall('GET', KEYS[1])
if not cell then return 0 end
{_IS_MARK}
redis.call('DEL', KEYS[1])
return is_mark and 0 or 1
"""

# KEYS[1]: the key. ARGV: text that marks a value of the user, lifetime of a mark in ms. As _ERASE.
_ERASE_IF_NAMED = f"""
local cell = redis.pcall('GET', KEYS[1])
{_IS_MARK}
if is_mark then
  if tag == 'T' then redis.call('DEL', KEYS[1]) end
  if tag == 'B' then redis.call('SET', KEYS[1], 'X', 'PX', ARGV[2]) end
  return 0
end
if not tag or not string.find(cell, ARGV[1], 1, true) then return 0 end
redis.call('DEL', KEYS[1])
return 1
"""

_MARK_MS = int(LEASE_SECONDS * 1000)

Script = tuple[Any, ...]
"""The text of a script, and its arguments after the key."""


class StillThere(Exception):
    """Every pass found new entries."""


def erase_user(client: Any, user_id: str, check_time: Callable[[], None]) -> int:
    """Remove all entries of a user, including leases and marks; returns the number without these.

    Passes are repeated until one finds nothing. Raises StillThere, errors of the client, and what
    `check_time` raises, which is called before each batch of keys.
    """
    removed = 0
    for _ in range(PASSES):
        found = 0
        for suspects in _suspects(client, user_id):
            check_time()
            found += _run(client, *suspects)
        if not found:
            return removed
        removed += found
    raise StillThere


def _suspects(client: Any, user_id: str) -> Iterator[tuple[Script, list[bytes]]]:
    """Batches of keys, each with the script to run on them."""
    named = orjson.dumps({"user_id": user_id})[1:-1]  # inside a text the quotes would be escaped
    for server in _servers(client):
        keys = server.scan_iter(match=user_pattern(user_id), count=PER_SCAN)
        own = (key for key in keys if is_key_of(user_id, key))
        for batch in batched(own, AT_ONCE):
            yield (_ERASE,), batch
        keys = server.scan_iter(match=INTERACTION_KEYS, count=PER_SCAN)
        for batch in batched(keys, SEARCHED_AT_ONCE):
            yield (_ERASE_IF_NAMED, named, _MARK_MS), batch


def _run(client: Any, script: Script, keys: list[bytes]) -> int:
    pipeline = client.pipeline(transaction=False)  # one round trip to each server
    text, *arguments = script
    for key in keys:
        pipeline.execute_command("EVAL", text, 1, key, *arguments)
    return sum(pipeline.execute())


def _servers(client: Any) -> list[Any]:
    """All servers at this moment. A server that is overlooked could keep data of the user."""
    if isinstance(client, RedisCluster):
        nodes: Any = client.nodes_manager
        nodes.initialize()
        if len(nodes.slots_cache) < REDIS_CLUSTER_HASH_SLOTS:
            raise RedisClusterException("Some slots have no server.")
    return list(inspection.servers(client))
