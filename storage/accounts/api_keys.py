"""Finding the API key that a client has sent."""

import hashlib
import time
from collections.abc import Callable

from django.db import connection

from storage.accounts import key_use
from storage.models import ApiKey
from storage.sql.errors import translated
from storage.sql.vendors import answered_within

MEMORY_SECONDS = 2.0
"""How long a verified key is accepted without another query, even if it was revoked meanwhile."""

ANSWER_SECONDS = 2.0
"""How long PostgreSQL may take to tell of a key: with a wait for a connection that is 4 s."""

MEMORY_SIZE = 10_000
"""The most keys that each process remembers."""

_verified: dict[bytes, tuple[float, ApiKey]] = {}


def find(key: str, before_lookup: Callable[[], None] = lambda: None) -> ApiKey | None:
    """The API key; None if it is unknown, revoked or expired.

    A key that this process has not verified before costs a query and more: `before_lookup` is
    called then, and may raise.

    A verified key is remembered for MEMORY_SECONDS. Only its SHA-256 is, never the key itself.
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    now = time.monotonic()
    known = _verified.get(digest)
    if known is not None and now < known[0]:
        key_use.USES.called(known[1].prefix)
        return known[1]
    if known is None:
        before_lookup()
    found = _look_up(key)
    if found is None:
        _verified.pop(digest, None)
        return None
    if len(_verified) >= MEMORY_SIZE:
        _verified.clear()
    _verified[digest] = (now + MEMORY_SECONDS, found)
    return found


def forget() -> None:
    """Forget all verified keys, so that the next use of each one queries the database."""
    _verified.clear()


def _look_up(key: str) -> ApiKey | None:
    if not key.isascii() or not key.isprintable():
        return None
    with translated, answered_within(ANSWER_SECONDS):
        try:
            found = ApiKey.objects.filter(prefix=key.partition(".")[0]).first()
        finally:
            # A client may send its body slowly; do not hold a connection while it is read.
            if not connection.in_atomic_block:
                connection.close()
    if found is None:
        return None  # and counted nowhere, or strangers could fill the memory
    key_use.USES.called(found.prefix)
    if found.revoked or found.has_expired or not found.is_valid(key):
        key_use.USES.refused(found.prefix)
        return None
    return found
