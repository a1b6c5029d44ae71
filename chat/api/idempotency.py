"""The `Idempotency-Key` header: a request that is repeated with it takes effect once."""

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from chat.api.authentication import Caller
from chat.api.problems import InvalidRequest
from storage.models.idempotency import Idempotency

KEY_MAX_LENGTH = 255


def idempotency(request: HttpRequest, caller: Caller, body: bytes) -> Idempotency | None:
    """The key and the body as keyed hashes, or None if the request has no key.

    The key counts per caller. Only hashes are kept, so no text of a message outlives it.
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
