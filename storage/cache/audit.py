"""Compares the entries in Redis with what the database has: `manage.py cache_audit`.

A cached value and its row are read one after the other, and a write may come between them. But
every writer removes the value from the cache before it commits (`storage.cache.leases`). So an
entry that differs is read a second time, and after it the database. It counts as a difference only
if the entry is unchanged and the row still differs: then a reader would get a wrong value.

The newest answer is found through an index that lags. So an answer differs only if the index shows
a newer one. An answer that the index does not show yet is right.
"""

import functools
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django_redis.cache import RedisCache
from redis import ConnectionPool, Redis
from redis.exceptions import NoPermissionError, ResponseError

from storage import limits
from storage.cache import inspection, keys, leases
from storage.cache.base import Find, Read
from storage.cache.guarded import AWAY
from storage.cache.leases import Cell
from storage.cache.redis_cells import NOT_OURS
from storage.cache.reliable_cells import OUTDATED
from storage.compat import batched
from storage.exceptions import StorageUnavailable
from storage.records.audit import Audit, Difference, Kind
from storage.records.json import from_json, to_json
from storage.records.questions import Question

PAUSE_SECONDS = 1.0
"""Pause before an entry that differs is read again, so that the index of answers catches up."""

TIMEOUT = 5.0
"""Seconds to connect to Redis, and to wait for an answer. Longer than requests may wait."""

AT_ONCE = 100
"""Keys in one round trip. Their values may have 400 KB each."""

PER_SCAN = 1000
"""Keys that a server examines in one SCAN, about. That blocks it for about 0.2 ms."""

OWN_KEYS = "chat:*"
"""A Redis pattern for the keys of this project. Other applications may use the same server."""

_KEY = re.compile(r"chat:(.*):([0-9a-f]{64})", re.DOTALL)


class Entry(NamedTuple):
    """A key and what Redis holds under it."""

    key: bytes
    cell: Cell
    age: float | None
    """The age of a value in seconds, None if it never expires."""

    @property
    def shown_key(self) -> str:
        """The key without the user."""
        parts = _KEY.fullmatch(self.key.decode(errors="replace"))
        return f"chat:{'*' if parts[1] else ''}:{parts[2]}" if parts else "chat:*"


Usable = Callable[[str, Cell], Cell]
"""`ReliableCells.usable`."""

Judge = Callable[[Entry], tuple[Kind, str, bool]]
"""Returns the kind of an entry, its interaction's id, and whether it differs from the database."""


def audit_cache(
    cache: RedisCache, usable: Usable, read: Read, find: Find, sample: int | None
) -> Audit:
    """Compare entries with the database: the first `sample` that Redis lists, or all if None.

    Each server of a cluster lists an equal share. Raises StorageUnavailable.
    """
    found, judge = Audit(), functools.partial(_judge, usable, read, find)
    try:
        servers = list(inspection.servers(cache.client.get_client(write=False)))
        share = None if sample is None else math.ceil(sample / len(servers))
        for server in servers:
            with _patient(server) as patient:
                own_keys = patient.scan_iter(match=OWN_KEYS, count=PER_SCAN)
                for batch in batched(islice(own_keys, share), AT_ONCE):
                    _compare(patient, batch, judge, found)
    except NoPermissionError as error:
        raise StorageUnavailable(
            "This Redis user lacks permissions that an audit needs: see docs/how-to/metrics.md."
        ) from error
    except AWAY as error:
        raise StorageUnavailable(f"Redis cannot be asked: {type(error).__name__}.") from error
    return found


def _patient(server: Redis) -> Redis:
    """A client of the same server with longer timeouts than those of requests."""
    pool = server.connection_pool
    timeouts = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    return Redis.from_pool(
        ConnectionPool(pool.connection_class, **pool.connection_kwargs | timeouts)
    )


def _compare(server: Redis, batch: Sequence[bytes], judge: Judge, found: Audit) -> None:
    suspects = []
    for entry, (kind, _, differs) in _judged(judge, _entries(server, batch)):
        found.count(kind, entry.age)
        if differs:
            suspects.append(entry)
    if not suspects:
        return
    time.sleep(PAUSE_SECONDS)
    cells = {entry.key: entry.cell for entry in suspects}
    again = [entry for entry in _entries(server, list(cells)) if entry.cell == cells[entry.key]]
    found.differences += [
        Difference(entry.shown_key, kind, interaction_id)
        for entry, (kind, interaction_id, differs) in _judged(judge, again)
        if differs
    ]


def _entries(server: Redis, batch: Sequence[bytes]) -> list[Entry]:
    """The entries under these keys. Keys that have expired are left out."""
    pipeline = server.pipeline(transaction=False)
    for key in batch:
        pipeline.get(key)
        pipeline.pttl(key)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    found = []
    for key, cell, left_ms in zip(batch, answers[::2], answers[1::2], strict=True):
        if isinstance(cell, ResponseError) and "WRONGTYPE" in str(cell):
            cell = NOT_OURS
        for answer in (cell, left_ms):
            if isinstance(answer, Exception):
                raise answer
        if cell is not None:
            age = None if left_ms == -1 else max(settings.CACHE_TTL - max(left_ms, 0) / 1000, 0.0)
            found.append(Entry(key, cell, age))
    return found


def _judged(judge: Judge, entries: list[Entry]) -> list[tuple[Entry, tuple[Kind, str, bool]]]:
    with ThreadPoolExecutor(settings.DYNAMODB_CONNECTIONS) as executor:
        return list(zip(entries, executor.map(judge, entries), strict=True))


def _judge(usable: Usable, read: Read, find: Find, entry: Entry) -> tuple[Kind, str, bool]:
    entry = entry._replace(cell=usable(entry.key.decode(errors="replace"), entry.cell))
    if entry.cell is OUTDATED:
        return Kind.OUTDATED, "", False
    kind, interaction_id = _claim(entry)
    if kind is Kind.INTERACTION:
        stored = read(interaction_id)
        return kind, interaction_id, stored is None or b"V" + to_json(stored) != entry.cell
    if kind is not Kind.ANSWER:
        return kind, interaction_id, kind is Kind.UNFIT
    stored = read(interaction_id)
    answered = [] if stored is None else keys.answer_keys(stored)
    if stored is None or entry.key.decode() not in answered:
        return Kind.OUTDATED_ANSWER, interaction_id, False
    model_used = None if entry.key.decode() == answered[0] else stored.model_used
    newest = find(Question(stored.user_id, stored.message, model_used), read)
    return kind, interaction_id, newest is not None and newest.position > stored.position


def _claim(entry: Entry) -> tuple[Kind, str]:
    """The kind of an entry and the interaction's id in it, judged by the entry alone."""
    unfit = (Kind.UNFIT, "")
    try:
        parts = _KEY.fullmatch(entry.key.decode())
        value = leases.value_of(entry.cell)
        if parts is None or (value is not None and len(value) > leases.VALUE_MAX_BYTES):
            return unfit
        if leases.is_lease_or_mark(entry.cell):
            return (Kind.LEASE if leases.is_leased(entry.cell) else Kind.MARK), ""
        if value is None:
            return (Kind.STRING, "") if isinstance(json.loads(entry.cell or b""), str) else unfit
        is_answer = bool(parts[1])
        interaction_id = orjson.loads(value) if is_answer else from_json(value).interaction_id
        if limits.identifier_violation(interaction_id):
            return unfit
        if is_answer:
            return Kind.ANSWER, interaction_id
        is_in_place = parts.string == keys.interaction_key(interaction_id)
        return (Kind.INTERACTION, interaction_id) if is_in_place else unfit
    except (ValueError, RecursionError):
        return unfit
