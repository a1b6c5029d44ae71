"""Selects where calls and wrong passwords are counted.

Calls are counted in Redis if there is one, since several machines may serve. Wrong passwords are
counted on the machine, as the accounts are.
"""

import functools
import os
from typing import TYPE_CHECKING

from django.conf import settings

from storage.startup.selection import get_storage, is_production

if TYPE_CHECKING:
    from storage.rate_limits.leases import LeasedWindows
    from storage.rate_limits.limits import RateLimits
    from storage.rate_limits.lockouts import Lockouts
    from storage.rate_limits.windows import Counts


@functools.cache
def rate_limits() -> "RateLimits":
    """The limits of this process. Threads share them. A forked child gets its own."""
    from storage.rate_limits.limits import RateLimits

    return RateLimits(_windows())


@functools.cache
def lockouts() -> "Lockouts":
    """The lock-outs of this process. Threads share them. A forked child gets its own."""
    from storage.rate_limits.lockouts import Lockouts
    from storage.rate_limits.table import Table

    return Lockouts(Table(settings.DATA_DIR / "limits" / "login"))


def _windows() -> "LeasedWindows":
    from storage.rate_limits.leases import LeasedWindows
    from storage.rate_limits.local import LocalCounts
    from storage.rate_limits.table import Table

    local = LocalCounts(Table(settings.DATA_DIR / "limits" / "calls"))
    return LeasedWindows(_in_redis() or local, local)


def _in_redis() -> "Counts | None":
    if not is_production():
        return None
    from storage.cache.leased import LeasedCache
    from storage.rate_limits.redis_counts import RedisCounts

    cache = get_storage().cache
    return RedisCounts(cache.server, cache.guards) if isinstance(cache, LeasedCache) else None


def forget() -> None:
    """Make them anew when they are next used."""
    rate_limits.cache_clear()
    lockouts.cache_clear()


os.register_at_fork(after_in_child=forget)
