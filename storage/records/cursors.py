"""Opaque page cursors: the position where a page ended, signed together with its query.

The signature prevents a client from using a cursor for another user or another query.
"""

from datetime import UTC, datetime

from django.core import signing

from storage.exceptions import InvalidCursor

Scope = tuple[str | None, ...]
Position = tuple[datetime, str]


def encode(position: Position, scope: Scope) -> str:
    """Returns the cursor of the page after `position` (`created_at`, `interaction_id`)."""
    created_at, interaction_id = position
    return _signer(scope).sign_object([created_at.isoformat(), interaction_id])


def decode(cursor: str, scope: Scope) -> Position:
    """Returns the position in `cursor`. Raises InvalidCursor if changed or for another scope."""
    try:
        created_at, interaction_id = _signer(scope).unsign_object(cursor)
        return datetime.fromisoformat(created_at).astimezone(UTC), interaction_id
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidCursor(
            "The cursor was changed or belongs to another query; start again without a cursor."
        ) from error


def _signer(scope: Scope) -> signing.Signer:
    return signing.Signer(salt=f"storage.cursors:{scope!r}")
