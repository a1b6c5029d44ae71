"""The audit log of staff: what they read, searched, exported and erased, and who logged in.

It has no id of a user. It has a pseudonym, a keyed hash (`storage.archive.pseudonyms`), by which
all entries about a given user can be found, and which survives the user's erasure.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.conf import settings

from storage.accounts.audit_chain import REMOVED, details_for_digest, digest_of
from storage.accounts.transactions import ALIAS, one_at_a_time
from storage.archive import pseudonyms
from storage.models import AuditEntry
from storage.sql.errors import translated

LOCK = "audit log"
"""Whoever appends to the chain has it: two that read the same last digest would fork it."""

TEXT_LENGTH = 255
"""Characters of a text in the details, at most."""

NOT_KEPT = frozenset({"user", "user_id", "text", "q", "message", "response"})
"""Names of details that are no text: a user goes into `user_id`, and what was said nowhere."""


class Action(StrEnum):
    """What was done."""

    LISTED = "listed"
    SEARCHED = "searched"
    READ = "read"
    REVEALED = "revealed"
    EXPORTED = "exported"
    ERASURE_BEGUN = "erasure begun"
    ERASURE_CONTINUED = "erasure continued"
    HELD = "held"
    RELEASED = "released"
    RESTORED = "restored"
    LOGGED_IN = "logged in"
    LOGIN_REFUSED = "login refused"
    LOGGED_OUT = "logged out"
    KEY_MADE = "key made"
    KEY_CHANGED = "key changed"
    KEY_ROTATED = "key rotated"
    KEY_REVOKED = "key revoked"
    KEY_DELETED = "key deleted"
    PRICES_CHANGED = "prices changed"
    STAFF_CHANGED = "staff changed"
    ENTRIES_REMOVED = REMOVED


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
    """Append an entry. Raises StorageError: then what it is about must not be done, or shown.

    Of `user_id` only the pseudonym is kept, also within the reason.
    """
    texts = {name for name, value in (details or {}).items() if isinstance(value, str)}
    if forbidden := NOT_KEPT & texts:
        raise ValueError(f"The audit log's details cannot have {', '.join(sorted(forbidden))}.")
    entry = AuditEntry(
        action=action.value,
        staff=_text(staff, 150),
        address=_text(address, 64),
        user_pseudonym=pseudonyms.pseudonym(user_id) if user_id else "",
        interaction_id=_text(interaction_id),
        reason=_text(_without_user(reason, user_id), 500),
        details=details_for_digest(_bounded(details or {})),
    )
    with translated:
        one_at_a_time(LOCK, lambda: _append(entry))


def _append(entry: AuditEntry) -> None:
    """Add the next link. Call it with the LOCK."""
    last = AuditEntry.objects.using(ALIAS).order_by("-pk").values_list("pk", "digest").first()
    number, previous = last or (0, "")
    entry.pk = number + 1
    entry.at = datetime.now(UTC)
    entry.key_id = pseudonyms.key_id()
    entry.digest = digest_of(entry, previous, settings.SECRET_KEY)
    entry.save(using=ALIAS, force_insert=True)


def _bounded(value: Any) -> Any:
    """The same with texts that are not too long, whatever a client has sent."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(str(name)): _bounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_bounded(item) for item in value]
    return value


def _text(text: str, length: int = TEXT_LENGTH) -> str:
    """Text that the database can keep."""
    return (
        text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")[:length]
    )


def _without_user(reason: str, user_id: str) -> str:
    if not user_id:
        return reason
    return re.sub(rf"(?<!\w){re.escape(user_id)}(?!\w)", "(user)", reason, flags=re.IGNORECASE)


def remove(until: datetime, limit: int) -> int:
    """Delete up to `limit` of the oldest entries, written at or before `until`.

    Returns their number. Leaves a mark, which is an entry of the log, too.
    """
    with translated:
        return one_at_a_time(LOCK, lambda: _remove(until, limit))


def _remove(until: datetime, limit: int) -> int:
    entries = AuditEntry.objects.using(ALIAS)
    oldest = entries.order_by("pk").values_list("pk", "at", "digest", "action")[:limit]
    due = []
    for entry in oldest:
        if entry[1] > until:
            break  # the clock may have been set back: what comes after it waits
        due.append(entry)
    if all(action == REMOVED for *_, action in due):
        return 0  # a mark for the removal of a mark would never end
    number, _, digest, _ = due[-1]
    details = {"until": number, "digest": digest, "count": len(due)}
    _append(AuditEntry(action=REMOVED, details=details))
    entries.filter(pk__lte=number).delete()
    return len(due)


def count_old(until: datetime) -> int:
    """The number of entries that were written at or before `until`."""
    with translated:
        return AuditEntry.objects.using(ALIAS).filter(at__lte=until).count()
