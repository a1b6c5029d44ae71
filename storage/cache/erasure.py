"""Removing from Redis all that there is of a user, and making sure of it.

Under keys of the user are the application's strings and the newest answers. Keys of interactions
name no user, so each value there is searched for the user's id; erasing rows marks their keys, but
a row may have been deleted before, by a process whose last word to the cache was lost.

Readers' leases on interactions go, and writers' marks there become such as let nobody fill: who has
read or written before may not fill afterwards. It costs others some more reads of the database.
"""

from collections.abc import Iterator
from typing import Any

import orjson
from redis.cluster import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import RedisClusterException

from storage.batched import batched
from storage.cache import inspection
from storage.cache.keys import INTERACTION_KEYS, is_key_of, user_pattern
from storage.cache.leases import LEASE_SECONDS

AT_ONCE = 500
"""Keys in one round trip."""

SEARCHED_AT_ONCE = 50
"""Keys of interactions in one round trip: with values of 400 KB the server needs some 30 ms."""

PER_SCAN = 1000
"""Keys that a server steps over in one SCAN, about: some 0.2 ms in which it does nothing else."""

PASSES = 10
"""With more, somebody puts things there as fast as they are removed."""

_IS_MARK = """
local tag = type(cell) == 'string' and string.sub(cell, 1, 1)
local is_mark = cell == 'X' or ((tag == 'T' or tag == 'B') and #cell <= 64)
"""

# KEYS[1]: the key. Gives 1 if what went was more than a lease or a mark. What is no string makes
# GET an error, which pcall gives as a table.
_ERASE = f"""
local cell = redis.pcall('GET', KEYS[1])
if not cell then return 0 end
{_IS_MARK}
redis.call('DEL', KEYS[1])
return is_mark and 0 or 1
"""

# KEYS[1]: the key. ARGV: text that a value of the user's has, life of a mark in ms. As _ERASE.
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
"""A script's text, and its arguments behind the key."""


class StillThere(Exception):
    """Each pass found something new."""


def erase_user(client: Any, user_id: str) -> int:
    """Remove all that there is of a user, leases and marks too; how much besides these.

    It looks until a whole pass finds nothing, and raises StillThere or what the client raises.
    """
    removed = 0
    for _ in range(PASSES):
        found = sum(_run(client, *suspects) for suspects in _suspects(client, user_id))
        if not found:
            return removed
        removed += found
    raise StillThere


def _suspects(client: Any, user_id: str) -> Iterator[tuple[Script, list[bytes]]]:
    """Keys, some at a time, and what to do with them."""
    named = orjson.dumps({"user_id": user_id})[1:-1]  # in a text its quotes would be escaped
    for server in _servers(client):
        keys = server.scan_iter(match=user_pattern(user_id), count=PER_SCAN)
        own = (key for key in keys if is_key_of(user_id, key))
        for some in batched(own, AT_ONCE):
            yield (_ERASE,), some
        keys = server.scan_iter(match=INTERACTION_KEYS, count=PER_SCAN)
        for some in batched(keys, SEARCHED_AT_ONCE):
            yield (_ERASE_IF_NAMED, named, _MARK_MS), some


def _run(client: Any, script: Script, keys: list[bytes]) -> int:
    pipeline = client.pipeline(transaction=False)  # one round trip to each server
    text, *arguments = script
    for key in keys:
        pipeline.execute_command("EVAL", text, 1, key, *arguments)
    return sum(pipeline.execute())


def _servers(client: Any) -> list[Any]:
    """All there are at this moment: with one that is not known of, nothing is certain."""
    if isinstance(client, RedisCluster):
        nodes: Any = client.nodes_manager
        nodes.initialize()
        if len(nodes.slots_cache) < REDIS_CLUSTER_HASH_SLOTS:
            raise RedisClusterException("Some slots have no server.")
    return list(inspection.servers(client))
