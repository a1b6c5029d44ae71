"""Finding the API key that a client shows."""

import hashlib
import time
from typing import cast

from django.db import connection

from storage.models import ApiKey
from storage.sql_errors import translated

MEMORY_SECONDS = 2.0
"""How long a verified key is taken as good without another look: a revoked key works no longer."""

MEMORY_SIZE = 10_000
"""Keys remembered at most, in each process."""

_verified: dict[bytes, tuple[float, ApiKey]] = {}


def find(key: str) -> ApiKey | None:
    """The valid key, or None if it is unknown, revoked or expired.

    Verified keys are remembered for MEMORY_SECONDS by their SHA-256, never in clear.
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    now = time.monotonic()
    known = _verified.get(digest)
    if known is not None and now < known[0]:
        return known[1]
    found = _look_up(key)
    if found is None:
        _verified.pop(digest, None)
        return None
    if len(_verified) >= MEMORY_SIZE:
        _verified.clear()
    _verified[digest] = (now + MEMORY_SECONDS, found)
    return found


def forget() -> None:
    """Look every key up again at its next use."""
    _verified.clear()


def _look_up(key: str) -> ApiKey | None:
    if not key.isascii() or not key.isprintable():
        return None
    with translated:
        try:
            found = cast(ApiKey, ApiKey.objects.get_from_key(key))
        except ApiKey.DoesNotExist:
            return None
        finally:
            # The body is read next, and a client that stalls in it must not hold a connection.
            if not connection.in_atomic_block:
                connection.close()
    return None if found.has_expired else found
