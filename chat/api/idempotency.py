"""The `Idempotency-Key` header: repeating a request with the same key has no further effect."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac

from chat.api.authentication import Caller
from chat.api.problems import InvalidRequest
from storage.models.idempotency import Idempotency

HEADER = "HTTP_IDEMPOTENCY_KEY"
KEY_MAX_LENGTH = 255


def idempotency(environ: Mapping[str, Any], caller: Caller, body: bytes) -> Idempotency | None:
    """Keyed hashes of the key and the body; None if the request has no key.

    Each caller has its own keys. Only hashes are stored, so no copy of a message outlives it. A
    key outlives a change of SECRET_KEY, if the earlier one is among SECRET_KEY_FALLBACKS.
    """
    key = environ.get(HEADER)
    if key is None:
        return None
    if not (1 <= len(key) <= KEY_MAX_LENGTH and key.isascii() and key.isprintable()):
        raise InvalidRequest(
            f"The header Idempotency-Key must have 1 to {KEY_MAX_LENGTH} printable ASCII "
            "characters."
        )
    known_as = f"{caller.identity}:{key}".encode()
    current, *earlier = [
        Idempotency(_hash("key", known_as, secret), _hash("request", body, secret))
        for secret in dict.fromkeys([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS])
    ]
    return replace(current, earlier=tuple(earlier)) if earlier else current


def _hash(purpose: str, value: bytes, secret: str) -> str:
    salt = f"chat.api.idempotency.{purpose}"
    return salted_hmac(salt, value, secret, algorithm="sha256").hexdigest()
