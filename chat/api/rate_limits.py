"""How often a client may call: by API key and, as long as it has shown no valid one, by address.

The functions need no request of Django, only its headers. Health checks and scrapes of `/metrics`
with a valid key are not counted.

The headers are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` has the quota and
the window in seconds, `RateLimit` what is left and the seconds until there is more.
"""

import functools
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from chat.api.addresses import address_of
from storage.accounts import key_use
from storage.rate_limits.windows import WINDOW_SECONDS, Verdict
from storage.startup.rate_limits import rate_limits


class QuotaExceeded(Exception):
    """The client has called too often. It may try again after `seconds`."""

    def __init__(self, detail: str, limit: str, quota: int, verdict: Verdict) -> None:
        super().__init__(detail)
        self.seconds = verdict.seconds
        self.headers = _headers(limit, quota, verdict)


def count_call(key_prefix: str) -> dict[str, str]:
    """Count a call with an API key. Returns the headers of its response.

    Raises QuotaExceeded.
    """
    quota = settings.RATE_LIMIT_PER_KEY
    if not quota:
        return {}
    verdict = rate_limits().take("key", key_prefix, quota)
    if not verdict.allowed:
        key_use.USES.refused(key_prefix)
        raise QuotaExceeded(
            f"This API key may make {quota} calls a minute. Try again after `Retry-After` seconds.",
            "key",
            quota,
            verdict,
        )
    return _headers("key", quota, verdict)


def count_stranger(environ: Mapping[str, Any]) -> None:
    """Count a request from an address that has not shown a valid API key.

    Raises QuotaExceeded.
    """
    quota = settings.RATE_LIMIT_PER_ADDRESS
    if not quota:
        return
    verdict = rate_limits().take("address", address_of(environ), quota)
    if not verdict.allowed:
        raise QuotaExceeded(
            f"An address may make {quota} requests a minute without a valid API key. "
            "Try again after `Retry-After` seconds.",
            "address",
            quota,
            verdict,
        )


def excuse_stranger(environ: Mapping[str, Any]) -> None:
    """Take back `count_stranger`: the key has turned out to be valid."""
    if settings.RATE_LIMIT_PER_ADDRESS:
        rate_limits().give_back("address", address_of(environ))


@functools.lru_cache(maxsize=1024)  # during a lease they are the same from call to call
def _headers(limit: str, quota: int, verdict: Verdict) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"{limit}";q={quota};w={WINDOW_SECONDS}',
        "RateLimit": f'"{limit}";r={verdict.remaining};t={verdict.seconds}',
    }
