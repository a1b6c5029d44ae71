"""The audit log of staff: what they read, searched, exported and erased, and who logged in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from storage.models import AuditEntry
from storage.sql_errors import translated


class Action(StrEnum):
    """What was done."""

    LISTED = "listed"
    SEARCHED = "searched"
    READ = "read"
    REVEALED = "revealed"
    EXPORTED = "exported"
    ERASURE_BEGUN = "erasure begun"
    HELD = "held"
    RELEASED = "released"
    RESTORED = "restored"
    LOGGED_IN = "logged in"
    LOGIN_REFUSED = "login refused"
    LOGGED_OUT = "logged out"
    KEY_MADE = "key made"
    KEY_CHANGED = "key changed"
    KEY_ROTATED = "key rotated"
    PRICES_CHANGED = "prices changed"
    STAFF_CHANGED = "staff changed"


def record(
    action: Action,
    staff: str,
    *,
    address: str = "",
    user_id: str = "",
    interaction_id: str = "",
    reason: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Append an entry. Raises StorageError: then what it is about must not be done, or shown."""
    with translated:
        AuditEntry.objects.create(
            at=datetime.now(UTC),
            action=action,
            staff=staff,
            address=address,
            user_id=user_id,
            interaction_id=interaction_id,
            reason=reason,
            details=dict(details or {}),
            digest="",
        )
