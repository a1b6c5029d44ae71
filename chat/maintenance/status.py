"""How much is stored, what is due and what is pending. The cost is bounded, whatever there is."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from chat.maintenance.erasure import ledger
from chat.maintenance.holds import Holds
from chat.maintenance.policy import LATEST, Policy
from storage import expiry
from storage.archive.archive import Archive
from storage.backups.selection import sql_backups
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.records.json import format_time

COUNTED_AT_MOST = 10_000
"""Hot rows that are counted. If there are more, this is the count."""

OVERDUE = timedelta(days=2)
"""What has been due for longer should have been done by a run long ago."""


@dataclass
class Status:
    """Counts of rows stop at COUNTED_AT_MOST; times are RFC 3339."""

    backend: str = ""
    database: dict[str, Any] = field(default_factory=dict)
    hot: int = 0
    oldest_hot: str | None = None
    due_to_archive: int = 0
    overdue_to_archive: int = 0
    due_to_purge: int = 0
    """Hot rows that have expired."""
    cold: int = 0
    segments: int = 0
    archive_bytes: int = 0
    oldest_cold: str | None = None
    newest_cold: str | None = None
    overdue_to_purge: int = 0
    """Hot rows, and segments of which all rows, that expired more than OVERDUE ago. What may be
    under a legal hold does not count.
    """
    interrupted: int = 0
    """Segments that the next run will complete."""
    holds: int = 0
    pending_erasures: int = 0
    newest_backup: str | None = None
    damaged: list[str] = field(default_factory=list)
    """Manifests that cannot be read. Their segments are in no other count."""
    remaining: int | None = None


def look(storage: Storage, policy: Policy, status: Status) -> None:
    """Fill `status`. Reads the manifest of every segment, and no row but the oldest."""
    status.backend = storage.database.kind
    status.database = storage.database.describe()
    holds = Holds.of(storage.archive)
    _look_at_hot(storage, policy, holds, status)
    _look_at_cold(storage.archive, policy, holds, status)
    status.interrupted = len(storage.archive.marked())
    status.holds = len(holds.all)
    status.pending_erasures = sum(1 for _ in ledger.pending(storage.archive))
    status.newest_backup = sql_backups().newest()
    status.remaining = status.due_to_archive + status.due_to_purge


def is_overdue(status: Status) -> bool:
    """Whether the scheduled runs seem not to happen, or to fail."""
    return bool(status.overdue_to_archive or status.overdue_to_purge or status.damaged)


def _overdue(until: datetime) -> datetime:
    return expiry.days_before(until, OVERDUE.days)


def _look_at_hot(storage: Storage, policy: Policy, holds: Holds, status: Status) -> None:
    def count(until: datetime, expired: int = 0) -> int:
        """The number of rows up to a time, without so many that have expired."""
        return max(storage.database.count_oldest(until, expired + COUNTED_AT_MOST) - expired, 0)

    status.hot = count(LATEST)
    oldest = storage.oldest(LATEST, 1)
    status.oldest_hot = format_time(oldest[0].created_at) if oldest else None
    status.due_to_purge = expired = count(policy.cutoff)
    if expired == COUNTED_AT_MOST:  # the rest cannot be told from them
        status.due_to_archive = status.overdue_to_archive = 0
    else:
        status.due_to_archive = count(policy.archive_until, expired)
        status.overdue_to_archive = max(count(_overdue(policy.archive_until), expired), 0)
    if not holds.all:
        status.overdue_to_purge = count(_overdue(policy.cutoff))


def _look_at_cold(archive: Archive, policy: Policy, holds: Holds, status: Status) -> None:
    times = []
    for segment in archive.all_segments():
        try:
            manifest = archive.manifest(segment)
        except DamagedArchive as error:
            status.damaged.append(error.name)
            continue
        if manifest is None:
            continue
        status.segments += 1
        status.cold += manifest.count
        status.archive_bytes += manifest.bytes
        is_overdue = manifest.newest <= _overdue(policy.cutoff)
        status.overdue_to_purge += is_overdue and not holds.may_hold(manifest)
        times += [manifest.oldest, manifest.newest]
    if times:
        status.oldest_cold, status.newest_cold = format_time(min(times)), format_time(max(times))
