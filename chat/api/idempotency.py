"""The `Idempotency-Key` header: repeating a request with the same key has no further effect."""

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from chat.api.authentication import Caller
from chat.api.problems import InvalidRequest
from storage.models.idempotency import Idempotency

KEY_MAX_LENGTH = 255


def idempotency(request: HttpRequest, caller: Caller, body: bytes) -> Idempotency | None:
    """Keyed hashes of the key and the body; None if the request has no key.

    Each caller has its own keys. Only hashes are stored, so no copy of a message outlives it.
    """
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if not 1 <= len(key) <= KEY_MAX_LENGTH:
        raise InvalidRequest(
            f"The header Idempotency-Key must have 1 to {KEY_MAX_LENGTH} characters."
        )
    return Idempotency(
        key=_hash("key", f"{caller.identity}:{key}".encode()), request=_hash("request", body)
    )


def _hash(purpose: str, value: bytes) -> str:
    return salted_hmac(f"chat.api.idempotency.{purpose}", value, algorithm="sha256").hexdigest()
