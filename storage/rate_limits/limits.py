"""The limits of calls, by name."""

from storage.rate_limits.digests import digest
from storage.rate_limits.leases import LeasedWindows
from storage.rate_limits.metrics import REFUSED
from storage.rate_limits.windows import Verdict


class RateLimits:
    """Counts calls in windows. Thread-safe; no method raises."""

    def __init__(self, windows: LeasedWindows) -> None:
        self._windows = windows

    def take(self, limit: str, who: str, quota: int) -> Verdict:
        """Count a call, unless `who` has made `quota` calls within the window of this limit."""
        found = self._windows.take(digest(limit, who), quota)
        if not found.allowed:
            REFUSED.labels(limit).inc()
        return found

    def give_back(self, limit: str, who: str) -> None:
        """Take back a call that was counted, as if it had not been made."""
        self._windows.give_back(digest(limit, who))
