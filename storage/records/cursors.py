"""Opaque page cursors: where a page ended, signed and bound to the query it belongs to.

The signature keeps a client from turning a cursor of one user into a page of another,
and a page of one query into a page of another.
"""

from datetime import UTC, datetime

from django.core import signing

from storage.exceptions import InvalidCursor

Scope = tuple[str | None, ...]
Position = tuple[datetime, str]


def encode(position: Position, scope: Scope) -> str:
    """The cursor that continues after `position` (`created_at`, `interaction_id`)."""
    created_at, interaction_id = position
    return _signer(scope).sign_object([created_at.isoformat(), interaction_id])


def decode(cursor: str, scope: Scope) -> Position:
    """The position in `cursor`. Raises InvalidCursor if it was changed or is for another scope."""
    try:
        created_at, interaction_id = _signer(scope).unsign_object(cursor)
        return datetime.fromisoformat(created_at).astimezone(UTC), interaction_id
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidCursor(
            "The cursor is not one that this query has given out; start again without a cursor."
        ) from error


def _signer(scope: Scope) -> signing.Signer:
    return signing.Signer(salt=f"storage.cursors:{scope!r}")
