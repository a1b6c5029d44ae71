"""Opaque page cursors: the position where a page ended, signed together with its query.

The signature prevents a client from using a cursor for another user or another query.
"""

import functools
import hashlib
import hmac
from base64 import b64decode, urlsafe_b64encode
from datetime import UTC, datetime

import orjson
from django.conf import settings

from storage.exceptions import InvalidCursor

Scope = tuple[str | None, ...]
Position = tuple[datetime, str]

SIGNATURE_BYTES = 32

SORTED_BY_EVERY_BACKEND = 230
"""Characters at the beginning of an id by which every backend sorts."""


def follows(position: Position, after: Position) -> bool:
    """Whether what a backend lists behind `after` is behind it; not if it comes once more.

    Of equal times and long ids that begin alike, each backend has an order of its own.
    """
    place, before = (
        (created_at, interaction_id[:SORTED_BY_EVERY_BACKEND])
        for created_at, interaction_id in (position, after)
    )
    return position != after if place == before else place > before


def encode(position: Position, scope: Scope) -> str:
    """Returns the cursor of the page after `position` (`created_at`, `interaction_id`)."""
    created_at, interaction_id = position
    content = orjson.dumps([created_at.isoformat(), interaction_id])
    return _text(_signature(content, scope, settings.SECRET_KEY) + content)


def decode(cursor: str, scope: Scope) -> Position:
    """Returns the position in `cursor`. Raises InvalidCursor if changed or for another scope."""
    try:
        signed = b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if cursor != _text(signed):  # base64 leaves bits of the last letter unused
            raise ValueError("not as it was made")
        signature, content = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        if not any(
            hmac.compare_digest(signature, _signature(content, scope, secret)) for secret in secrets
        ):
            raise ValueError("another signature")
        created_at, interaction_id = orjson.loads(content)
        return datetime.fromisoformat(created_at).astimezone(UTC), interaction_id
    except (ValueError, TypeError) as error:
        raise InvalidCursor(
            "The cursor was changed or belongs to another query; start again without a cursor."
        ) from error


def _text(signed: bytes) -> str:
    return urlsafe_b64encode(signed).rstrip(b"=").decode()


def _signature(content: bytes, scope: Scope, secret: str) -> bytes:
    signature = _keyed(secret).copy()
    # `repr` writes any id in ASCII or UTF-8, and tells None from a user of that name.
    signature.update(content + repr(scope).encode())
    return signature.digest()


@functools.lru_cache(maxsize=8)
def _keyed(secret: str) -> hmac.HMAC:
    """Signs nothing yet. To copy it takes a tenth of the time that OpenSSL needs to take a key.

    The key is used for cursors only.
    """
    key = hashlib.sha256(b"storage.cursors" + secret.encode()).digest()
    return hmac.new(key, digestmod="sha256")
