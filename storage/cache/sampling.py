"""Entries of a Redis server or cluster to look at: all, or some for what so many cost anywhere."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import ResponseError

from storage.batched import batched
from storage.cache.leases import Cell
from storage.cache.redis_cells import NOT_OURS

OWN = b"chat:"
"""What all keys of this project begin with; other applications may share the server."""

AT_ONCE = 100
"""Keys in one round trip, whose values may have 400 KB each."""

PER_SCAN = 1000
"""Keys that a server steps over in one SCAN, about: some 0.2 ms in which it does nothing else."""


class Entry(NamedTuple):
    """What a server holds under a key."""

    key: bytes
    cell: Cell
    seconds_left: float | None
    """None if it never expires."""


def own_keys(servers: Sequence[Redis], size: int | None) -> Iterator[tuple[Redis, list[bytes]]]:
    """Keys, some at a time, with their server: about `size` at random, or all if None.

    Each server gives its share. If all hold no more than `size`, all are given. Raises RedisError.
    """
    held = [int(server.dbsize()) for server in servers]
    total = sum(held)
    for server, count in zip(servers, held, strict=True):
        keys: Iterable[bytes]
        if size is None or total <= size:
            keys = server.scan_iter(match=OWN + b"*", count=PER_SCAN)
        else:
            keys = _random_keys(server, math.ceil(size * count / total))
        for some in batched(keys, AT_ONCE):
            yield server, some


def look(server: Redis, keys: Sequence[bytes]) -> list[Entry]:
    """What is under the keys in this moment. Raises RedisError."""
    pipeline = server.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
        pipeline.pttl(key)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return [
        Entry(key, _cell(cell), None if _checked(left) == -1 else max(left, 0) / 1000)
        for key, cell, left in zip(keys, answers[::2], answers[1::2], strict=True)
    ]


def _cell(answer: Any) -> Cell:
    if isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer):
        return NOT_OURS
    cell: Cell = _checked(answer)
    return cell


def _checked(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _random_keys(server: Redis, count: int) -> set[bytes]:
    """Up to `count` keys: one that comes twice is one, and those of others are none."""
    found: set[bytes] = set()
    for some in batched(range(count), AT_ONCE):
        pipeline = server.pipeline(transaction=False)
        for _ in some:
            pipeline.randomkey()
        found.update(key for key in pipeline.execute() if key is not None and key.startswith(OWN))
    return found
