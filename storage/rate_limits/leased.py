"""Counts calls for all machines in Redis, and asks it less often than there are calls.

A process takes a lease on as many calls as it will probably answer within LEASE_SECONDS, and gives
back those that it has not. So there are never more than the quota, whatever each process knows.
"""

import threading
import time
from dataclasses import dataclass

from storage.cache import background
from storage.cache.guarded import Guards
from storage.rate_limits.local import LocalWindows
from storage.rate_limits.redis_windows import Grant, RedisWindows, redis_key
from storage.rate_limits.windows import WINDOW_SECONDS, Verdict, verdict

LEASE_SECONDS = 0.5
"""How long a lease can be used. A refusal is remembered as long, too."""

LARGEST_SHARE = 100
"""A lease is at most this part of the quota; for small quotas, every call is counted by itself."""

MOST_KNOWN = 10_000
"""The most clients of which a process remembers what the server has said."""

UNASKED = Verdict(True, 0, 1)


@dataclass
class _Client:
    """What this process knows of a client."""

    quota: int
    state: str = ""
    leased: int = 0
    """Calls that it may still answer without asking."""
    until: float = 0.0
    """When the lease, or the refusal, ends (`time.monotonic`)."""
    asked: float = 0.0
    """When the server was asked the last time."""
    answered: int = 0
    """Calls since then."""
    verdict: Verdict = UNASKED
    """Of the last answer."""


class LeasedWindows:
    """Windows in Redis. While that is away, this machine counts for itself."""

    def __init__(self, windows: RedisWindows, guards: Guards, local: LocalWindows) -> None:
        self._windows = windows
        self._guards = guards
        self._local = local
        self._lock = threading.Lock()
        self._clients: dict[bytes, _Client] = {}
        self._returns = False

    def take(self, digest: bytes, quota: int) -> Verdict:
        now = time.monotonic()
        with self._lock:
            client = self._clients.get(digest)
            if client is None:
                client = self._new(digest, quota)
            client.answered += 1
            if now < client.until:
                if client.leased:
                    client.leased -= 1
                    return client.verdict._replace(
                        remaining=client.verdict.remaining + client.leased
                    )
                if not client.verdict.allowed:
                    return client.verdict
            wanted = _wanted(client, quota, now)
            client.asked, client.answered, client.quota = now, 0, quota
            unused, client.leased = client.leased, 0
            state = client.state
        grant = self._ask(digest, quota, wanted, unused, state)
        if grant is None:
            with self._lock:
                self._clients.pop(digest, None)
            return self._local.take(digest, quota)
        return self._learn(client, quota, grant)

    def give_back(self, digest: bytes) -> None:
        with self._lock:
            client = self._clients.get(digest)
            if client is not None:
                client.leased += 1
                client.until = time.monotonic() + LEASE_SECONDS
                self._return_later()
                return
        self._local.give_back(digest)

    def _new(self, digest: bytes, quota: int) -> _Client:
        if len(self._clients) >= MOST_KNOWN:
            self._clients.clear()
        self._clients[digest] = _Client(quota)
        return self._clients[digest]

    def _ask(self, digest: bytes, quota: int, wanted: int, unused: int, state: str) -> Grant | None:
        key = redis_key(digest)
        return self._guards.of(key).ask(
            lambda: self._windows.take(key, quota, wanted, unused, state), None
        )

    def _learn(self, client: _Client, quota: int, grant: Grant) -> Verdict:
        found = verdict(quota, grant.previous, grant.current, grant.passed_ms, grant.granted > 0)
        with self._lock:
            client.state, client.verdict = grant.state, found
            # It never reaches into the next window, which would not count it.
            client.until = time.monotonic() + min(LEASE_SECONDS, grant.left_ms / 1000)
            if grant.granted > 1:
                client.leased += grant.granted - 1
                self._return_later()
            return found._replace(remaining=found.remaining + client.leased)

    def _return_later(self) -> None:
        if not self._returns:
            self._returns = background.repeat(self._return_unused, LEASE_SECONDS)

    def _return_unused(self) -> bool:
        """Give back leases that have ended. Returns whether there are others."""
        now = time.monotonic()
        with self._lock:
            ended = [
                (digest, client.quota, client.leased, client.state)
                for digest, client in self._clients.items()
                if client.leased and now >= client.until
            ]
            for digest, *_ in ended:
                self._clients[digest].leased = 0
        for digest, quota, unused, state in ended:
            self._ask(digest, quota, 0, unused, state)
        with self._lock:
            for digest in [d for d, c in self._clients.items() if _is_over(c, now)]:
                del self._clients[digest]
            self._returns = any(client.leased for client in self._clients.values())
            return self._returns


def _wanted(client: _Client, quota: int, now: float) -> int:
    """How many calls to ask for: as many as came within the last LEASE_SECONDS, or fewer."""
    rate = client.answered / max(now - client.asked, LEASE_SECONDS / 5)
    return max(1, min(int(rate * LEASE_SECONDS), quota // LARGEST_SHARE))


def _is_over(client: _Client, now: float) -> bool:
    """Whether nothing that is known of a client counts any more."""
    return not client.leased and now > client.asked + 2 * WINDOW_SECONDS
