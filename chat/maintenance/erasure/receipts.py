"""Receipts: what was erased of a user, since when it is gone, and which backups have it still."""

from datetime import UTC, datetime
from typing import Any

from chat.maintenance.erasure.ledger import Erasure
from storage.backups import selection as backups
from storage.backups.base import Copy
from storage.records.json import format_time


def of_removed(
    erasure: Erasure, sweeps: int, swept_at: datetime, copies: dict[str, Any]
) -> dict[str, Any]:
    """The receipt of an erasure whose last sweep, which found nothing, began at a time."""
    return {
        "erased": erasure.erased,
        "attempts": erasure.attempts,
        "looks": sweeps,
        # Not the present: what was saved since the last sweep, if anything, is still there.
        "removed_at": format_time(swept_at),
        "scrubbed_at": None,
        **copies,
    }


def of_scrubbed(receipt: dict[str, Any]) -> dict[str, Any]:
    """The same when no byte is left in the files. A backup since then may have copied some."""
    return receipt | {"scrubbed_at": format_time(datetime.now(UTC)), **copies()}


def copies() -> dict[str, Any]:
    """The backups that there are now, and when the last one will be gone, if that is known."""
    found = backups.all_copies()
    times = [copy.gone_by for copy in found if copy.gone_by is not None]
    return {
        "copies": [_shown(copy) for copy in found],
        "copies_gone_by": format_time(max(times)) if times and len(times) == len(found) else None,
    }


def _shown(copy: Copy) -> dict[str, str]:
    if copy.gone_by is None:
        return {"name": copy.name}
    return {"name": copy.name, "expires_at": format_time(copy.gone_by)}
