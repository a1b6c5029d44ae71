"""Who calls, as bytes that tell nothing of who it is."""

import functools
import hashlib

from django.conf import settings

from storage.rate_limits.table import DIGEST_BYTES


@functools.lru_cache(maxsize=10_000)
def digest(*words: str) -> bytes:
    """The digest of a limit's name and whom it limits. Only the secret key tells which it is."""
    key = hashlib.sha256(settings.SECRET_KEY.encode()).digest()
    text = "\0".join(words).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=key, digest_size=DIGEST_BYTES).digest()
