"""Whether what Redis has cached is what the database has.

# Note [Differences while others write]

A cached value and its row are read one after the other, and a writer may come between. But a
writer takes the value out of the cache before its commit (`storage.cache.leases`). So what differs
is looked at again: if the cell has changed, nothing was wrong; if it has not, and the row that is
read after it still differs, a reader would have been given what is not so.

The newest answer is found by an index, which lags. So one that the index does not show yet is no
difference, but a newer one that it does show is.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache
from redis import ConnectionPool, Redis
from redis.exceptions import NoPermissionError

from storage.cache import inspection, keys
from storage.cache.base import Find, Read
from storage.cache.claims import Claim, claim_of
from storage.cache.guarded import AWAY
from storage.cache.sampling import look, own_keys
from storage.exceptions import NoSharedCache, StorageUnavailable
from storage.records.audit import Audit, Difference, Kind
from storage.records.json import to_json
from storage.records.questions import Question

PAUSE_SECONDS = 1.0
"""Before an answer is looked at again."""

TIMEOUT = 5.0
"""Seconds to connect to Redis, and to wait for an answer."""

VALUES = (Kind.INTERACTION, Kind.ANSWER, Kind.OUTDATED_ANSWER)


def audit_cache(cache: BaseCache | None, read: Read, find: Find, sample: int | None) -> Audit:
    """Compare about `sample` cached entries, or all if None, with what the database has.

    Raises NoSharedCache, and StorageUnavailable if either does not answer.
    """
    if not isinstance(cache, RedisCache):
        raise NoSharedCache("There is no cache: REDIS_URL is not set.")
    auditor = _Auditor(read, find)
    try:
        with ExitStack() as open_servers:
            servers = [
                open_servers.enter_context(_patient(server))
                for server in inspection.servers(cache.client.get_client(write=False))
            ]
            for server, some in own_keys(servers, sample):
                auditor.compare(server, some)
    except NoPermissionError as error:
        raise StorageUnavailable(
            "This user of Redis lacks rights that an audit needs: docs/how-to/metrics.md."
        ) from error
    except AWAY as error:
        raise StorageUnavailable(f"Redis cannot be asked: {type(error).__name__}.") from error
    return auditor.found


def _patient(server: Redis) -> Redis:
    """The same server, but nobody waits here for each single answer."""
    pool = server.connection_pool
    timeouts = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    return Redis.from_pool(
        ConnectionPool(pool.connection_class, **pool.connection_kwargs | timeouts)
    )


class _Auditor:
    def __init__(self, read: Read, find: Find) -> None:
        self._read = read
        self._find = find
        self.found = Audit()

    def compare(self, server: Redis, some: Sequence[bytes]) -> None:
        """See Note [Differences while others write]."""
        claims = [claim_of(entry) for entry in look(server, some) if entry.cell is not None]
        suspects = self._differing(claims, count=True)
        if not suspects:
            return
        if any(claim.kind is Kind.ANSWER for claim in suspects):
            time.sleep(PAUSE_SECONDS)
        now = look(server, [claim.entry.key for claim in suspects])
        unchanged = [
            claim
            for claim, entry in zip(suspects, now, strict=True)
            if entry.cell == claim.entry.cell
        ]
        self.found.differences += [
            Difference(claim.key, claim.kind, claim.interaction_id)
            for claim in self._differing(unchanged)
        ]

    def _differing(self, claims: Sequence[Claim], *, count: bool = False) -> list[Claim]:
        with ThreadPoolExecutor(settings.DYNAMODB_CONNECTIONS) as executor:
            judged = list(executor.map(self._judge, claims))
        if count:
            for claim, (kind, _) in zip(claims, judged, strict=True):
                self._count(claim, kind)
        return [claim for claim, (_, differs) in zip(claims, judged, strict=True) if differs]

    def _count(self, claim: Claim, kind: Kind) -> None:
        self.found.entries[kind] += 1
        left = claim.entry.seconds_left
        if kind in VALUES and left is not None:
            self.found.ages.append(max(settings.CACHE_TTL - left, 0.0))

    def _judge(self, claim: Claim) -> tuple[Kind, bool]:
        """What it is, and whether it differs from the database in this moment."""
        if claim.kind is Kind.INTERACTION:
            stored = self._read(claim.interaction_id)
            return claim.kind, stored is None or to_json(stored) != claim.value
        if claim.kind is Kind.ANSWER:
            return self._judge_answer(claim)
        return claim.kind, claim.kind is Kind.UNFIT

    def _judge_answer(self, claim: Claim) -> tuple[Kind, bool]:
        stored = self._read(claim.interaction_id)
        key = claim.entry.key.decode()
        answered = keys.answer_keys(stored) if stored is not None else []
        if stored is None or key not in answered:
            return Kind.OUTDATED_ANSWER, False
        model_used = None if key == answered[0] else stored.model_used
        newest = self._find(Question(stored.user_id, stored.message, model_used))
        newer = newest is not None and newest.position > stored.position
        return claim.kind, newer
