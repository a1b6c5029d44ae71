"""Asks for calls less often than there are calls.

A process takes a lease on as many calls as it will probably answer within LEASE_SECONDS, and gives
back those that it has not. So there are never more than the quota, whatever each process knows.
Near the end of the quota, and for small quotas, there are no leases: every call asks.
"""

import threading
import time

from storage.cache import background
from storage.rate_limits.windows import (
    NOTHING,
    WINDOW_MS,
    WINDOW_SECONDS,
    Counts,
    Grant,
    Request,
    State,
    Verdict,
    verdict,
)

LEASE_SECONDS = 0.5
"""How long a lease can be used. A refusal is remembered as long, too."""

LARGEST_SHARE = 100
"""A lease is at most this part of the quota."""

MOST_KNOWN = 10_000
"""The most clients of which a process knows leases and refusals."""


class _Client:
    """What this process knows of a client."""

    __slots__ = ("answered", "asked", "counts", "leased", "quota", "state", "until", "verdict")

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        """The counts that were asked the last time."""
        self.quota = 0
        self.asked = 0.0
        """When the counts were asked the last time (`time.monotonic`)."""
        self.answered = 0
        """Calls since then."""
        self.state: State = NOTHING
        self.verdict: Verdict | None = None
        self.leased = 0
        """Calls that it may still answer without asking."""
        self.until = 0.0
        """When the lease, or the refusal, ends."""


class LeasedWindows:
    """Decides about calls by `counts`, or by `otherwise` while these are away. Thread-safe."""

    def __init__(self, counts: Counts, otherwise: Counts) -> None:
        self._counts = counts
        self._otherwise = otherwise
        self._lock = threading.Lock()
        self._clients: dict[bytes, _Client] = {}
        self._returns = False

    def take(self, digest: bytes, quota: int) -> Verdict:
        """Count a call, unless `quota` calls have been made within the window."""
        now = time.monotonic()
        with self._lock:
            client = self._clients.get(digest)
            if client is None:
                client = self._new(digest)
            client.answered += 1
            if now < client.until and client.verdict is not None:
                if client.leased:
                    client.leased -= 1
                    known = client.verdict
                    # One that was taken back may come after a refusal.
                    return known if known.allowed else known._replace(allowed=True)
                if not client.verdict.allowed:
                    return client.verdict
            request, counts = _request(digest, quota, client, now), client.counts
        return self._asked(client, request, counts)

    def give_back(self, digest: bytes) -> None:
        """Take back the last call that was counted: another one can have its place."""
        with self._lock:
            client = self._clients.get(digest)
            if client is not None and client.verdict is not None:
                client.leased += 1
                client.until = time.monotonic() + LEASE_SECONDS
                self._return_later()

    def _new(self, digest: bytes) -> _Client:
        if len(self._clients) >= MOST_KNOWN:
            self._clients.clear()
        client = self._clients[digest] = _Client(self._counts)
        return client

    def _asked(self, client: _Client, request: Request, asked: Counts) -> Verdict:
        for counts in (self._counts, self._otherwise):
            is_new = counts is not asked  # it knows nothing of what the others have granted
            grant = counts.take(request._replace(unused=0, seen=NOTHING) if is_new else request)
            if grant is not None:
                with self._lock:
                    return self._learned(client, counts, request.quota, grant)
        raise AssertionError("the counts of this machine are never away")

    def _learned(self, client: _Client, counts: Counts, quota: int, grant: Grant) -> Verdict:
        client.counts, client.state, client.quota = counts, grant.state, quota
        client.verdict = verdict(quota, grant)
        # It never reaches into the next window, which would not count it.
        seconds = min(LEASE_SECONDS, (WINDOW_MS - grant.passed_ms) / 1000)
        client.until = time.monotonic() + seconds
        if grant.granted > 1:
            client.leased += grant.granted - 1
            self._return_later()
        return client.verdict

    def _return_later(self) -> None:
        if not self._returns:
            self._returns = background.repeat(self._return_unused, LEASE_SECONDS)

    def _return_unused(self) -> bool:
        """Give back leases that have ended. Returns whether there are others."""
        now = time.monotonic()
        with self._lock:
            ended = [
                (client.counts, Request(digest, client.quota, 0, client.leased, client.state))
                for digest, client in self._clients.items()
                if client.leased and now >= client.until
            ]
            for _, request in ended:
                self._clients[request.digest].leased = 0
        for counts, request in ended:
            counts.take(request)
        with self._lock:
            for digest in [d for d, client in self._clients.items() if _is_over(client, now)]:
                del self._clients[digest]
            self._returns = any(client.leased for client in self._clients.values())
            return self._returns


def _request(digest: bytes, quota: int, client: _Client, now: float) -> Request:
    """What to ask for: as many calls as came within the last LEASE_SECONDS, or fewer."""
    rate = client.answered / max(now - client.asked, LEASE_SECONDS / 5)
    wanted = max(1, min(int(rate * LEASE_SECONDS), quota // LARGEST_SHARE))
    request = Request(digest, quota, wanted, client.leased, client.state)
    client.asked, client.answered, client.leased = now, 0, 0
    return request


def _is_over(client: _Client, now: float) -> bool:
    """Whether nothing that is known of a client counts any more."""
    return not client.leased and now > client.asked + 2 * WINDOW_SECONDS
