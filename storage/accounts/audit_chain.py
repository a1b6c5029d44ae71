"""The chain of the audit log: what a digest covers, and the verification of all of them.

A digest is an HMAC-SHA256 of the entry and of the digest before it. Its key is made of SECRET_KEY,
so whoever can write the file of the database, but does not know that key, can change, insert and
remove nothing in the middle unnoticed. A chain of plain hashes could be computed again.

Nobody can tell from the log alone that its newest entries are missing, or that all of it is from a
backup. For that, keep the newest digest elsewhere and verify from there.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from storage.archive import pseudonyms
from storage.exceptions import StorageError
from storage.models import AuditEntry
from storage.sql.errors import translated

REMOVED = "entries removed"
"""The action of a mark: by retention, all entries up to `details["until"]` are gone. The last of
them had the digest `details["digest"]`, from which the chain goes on. The triggers ask for it."""

_SALT = "storage.accounts.audit_log"
_COVERED = ("action", "staff", "address", "user_pseudonym", "interaction_id", "reason", "details")
_PAGE = 1000


class BrokenChain(StorageError):
    """Entries of the audit log are missing, or not as they were written."""


@dataclass(frozen=True)
class Verified:
    """What was verified. Times are UTC; None and empty if the log is empty."""

    entries: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    digest: str = ""
    """Of the newest entry. Keep it elsewhere."""


@dataclass(frozen=True)
class _Link:
    """The place that the next entry is to have."""

    number: int
    previous: str


def digest_of(entry: AuditEntry, previous: str, secret: str | None = None) -> str:
    """The digest of an entry after the one with the digest `previous`; 64 hexadecimal digits."""
    at = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    covered = [previous, entry.pk, at, entry.key_id, *(getattr(entry, name) for name in _COVERED)]
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"))
    return salted_hmac(_SALT, text, secret=secret, algorithm="sha256").hexdigest()


def verify(since_digest: str = "") -> Verified:
    """Verify all entries, or those after the one with this digest. The memory it takes is bounded.

    Raises BrokenChain at the first break, and StorageError.
    """
    with translated:
        expected, found = _Link(1, ""), Verified()
        if since_digest:
            expected, found = _known(since_digest)
        secrets = {pseudonyms.key_id(key): key for key in _keys()}
        while page := _page_from(expected.number):
            if page[0].pk != expected.number:
                expected = _after_removal(page[0].pk, expected)
                continue
            for entry in page:
                _check(entry, expected, secrets)
                expected = _Link(entry.pk + 1, entry.digest)
            oldest = found.oldest or page[0].at
            found = Verified(found.entries + len(page), oldest, entry.at, entry.digest)
        return found


def _keys() -> list[str]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


def _known(digest: str) -> tuple[_Link, Verified]:
    entry = AuditEntry.objects.filter(digest=digest).order_by("-pk").first()
    if entry is None:
        raise BrokenChain(
            f"No entry has the digest {digest}: it was removed, with all that came after it or by "
            "retention (AUDIT_KEEP_DAYS), or this log is another one."
        )
    return _Link(entry.pk + 1, digest), Verified(0, None, entry.at, digest)


def _page_from(number: int) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(pk__gte=number).order_by("pk")[:_PAGE])


def _after_removal(found: int, expected: _Link) -> _Link:
    """The place after what retention has removed: before, or while this was verifying.

    The mark is an entry like others, further on in the chain, and is verified when it comes.
    """
    mark = AuditEntry.objects.filter(action=REMOVED).order_by("-pk").first()
    until = mark.details.get("until", 0) if mark else 0
    if mark is None or until < found - 1:
        raise _missing(expected.number, found)
    return _Link(until + 1, mark.details["digest"])


def _missing(expected: int, found: int) -> BrokenChain:
    last = found - 1
    which = f"Entry {last} is" if last == expected else f"The entries {expected} to {last} are"
    return BrokenChain(f"{which} missing, and retention has not removed that.")


def _check(entry: AuditEntry, expected: _Link, secrets: dict[str, str]) -> None:
    if entry.pk != expected.number:
        raise _missing(expected.number, entry.pk)
    if entry.key_id not in secrets:
        raise BrokenChain(
            f"Entry {entry.pk} of {entry.at:%Y-%m-%d %H:%M:%S} UTC cannot be verified: its "
            f"SECRET_KEY ({entry.key_id}) is not among SECRET_KEY_FALLBACKS. Add it there; if no "
            "such key was ever used, the entry was forged."
        )
    digest = digest_of(entry, expected.previous, secrets[entry.key_id])
    if not constant_time_compare(entry.digest, digest):
        raise BrokenChain(
            f"Entry {entry.pk} of {entry.at:%Y-%m-%d %H:%M:%S} UTC was changed after it was "
            "written, or the one before it was."
        )


def details_for_digest(details: Any) -> Any:
    """Details as they will be read from the database again, so that their digest is the same."""
    return json.loads(json.dumps(details, default=str))
