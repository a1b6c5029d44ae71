"""How much is stored, what is due and what is pending. The cost is bounded, whatever there is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chat.maintenance import clock, verification
from chat.maintenance.erasure import ledger
from chat.maintenance.holds import Holds
from chat.maintenance.identity import require_archive
from chat.maintenance.policy import LATEST, Policy
from storage import expiry
from storage.archive.archive import Archive
from storage.archive.heads import Head
from storage.archive.manifests import Manifest
from storage.backups.selection import backed_up_elsewhere, sql_backups
from storage.compat import batched
from storage.exceptions import DamagedArchive
from storage.expiry import BEGINNING
from storage.interface import Storage
from storage.large.objects import LargeObjects
from storage.records.json import format_time
from storage.records.pages import Slice, never

COUNTED_AT_MOST = 10_000
"""Hot rows that are counted. If there are more, this is the count."""

FUTURE_AT_MOST = 100

LISTED_AT_ONCE = 1_000
"""Objects between two looks at the time: what S3 lists in one request."""

OVERDUE = timedelta(days=2)
"""What has been due for longer should have been done by a run long ago."""


@dataclass
class Status:
    """Counts of rows stop at COUNTED_AT_MOST; times are RFC 3339."""

    backend: str = ""
    database: dict[str, Any] = field(default_factory=dict)
    hot: int = 0
    oldest_hot: str | None = None
    newest_hot: str | None = None
    future: int = 0
    """Hot rows that are dated more than a day ahead: they head all lists, and are not due before
    their time. FUTURE_AT_MOST are counted.
    """
    clock_skew_seconds: int | None = None
    """How far the clock is ahead of DynamoDB's or S3's, or behind if negative. None without one."""
    clock: str | None = None
    """Why the clock may be ahead, so that purge_interactions and backup refuse it; or None."""
    due_to_archive: int = 0
    overdue_to_archive: int = 0
    due_to_purge: int = 0
    """Hot rows that have expired."""
    cold: int = 0
    segments: int = 0
    archive_bytes: int = 0
    large_texts: int = 0
    """Objects with large texts of hot rows, in the archive's place."""
    large_texts_bytes: int = 0
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
    unscrubbed_erasures: int = 0
    """Nobody can read anything of these users, but bytes may be left in the database's files."""
    newest_backup: str | None = None
    damaged: list[str] = field(default_factory=list)
    """Files of the archive: what the last verification found, or the one that is under way, and
    manifests that had to be read here and cannot be (their segments are in no other count).
    """
    verified_at: str | None = None
    """When the archive was last verified completely (verify_archive)."""
    remaining: int | None = None


def look(storage: Storage, policy: Policy, status: Status, check_time: Callable[[], None]) -> None:
    """Fill `status`. Lists the files of the archive, and reads few of them, and few rows.

    `check_time` is called again and again meanwhile, and may raise. Raises ArchiveMismatch.
    """
    status.backend = storage.database.kind
    status.database = storage.database.describe()
    require_archive(storage)  # without it, nothing would be cold, held or damaged
    holds = Holds.of(storage.archive)
    _look_at_clock(storage, status)
    _look_at_hot(storage, policy, holds, status)
    _look_at_cold(storage.archive, policy, holds, status, check_time)
    _look_at_large(storage.archive, status, check_time)
    verified = verification.read(storage.archive)
    status.damaged = sorted({*status.damaged, *verified.damaged})
    status.verified_at = verified.last.finished_at if verified.last else None
    status.interrupted = len(storage.archive.marked())
    status.holds = len(holds.all)
    status.pending_erasures = sum(1 for _ in ledger.pending(storage.archive))
    status.unscrubbed_erasures = ledger.count_to_scrub(storage.archive)
    status.newest_backup = _newest_backup()
    status.remaining = status.due_to_archive + status.due_to_purge


def _newest_backup() -> str | None:
    if backed_up_elsewhere():
        return None
    try:
        return sql_backups().newest()
    except OSError as error:  # not to be told from none otherwise
        return f"unknown: {error.strerror}"


def is_overdue(status: Status) -> bool:
    """Whether the scheduled runs seem not to happen, or to fail."""
    return bool(status.overdue_to_archive or status.overdue_to_purge or status.damaged)


def _look_at_clock(storage: Storage, status: Status) -> None:
    server, now = clock.server_time(storage), datetime.now(UTC)
    status.clock_skew_seconds = None if server is None else round((now - server).total_seconds())
    status.clock = clock.problem_of(storage, now)
    newest = storage.database.newest_interactions(Slice(None, 1, BEGINNING, texts_of=never))
    status.newest_hot = format_time(newest[0].created_at) if newest else None
    if newest and newest[0].created_at > expiry.latest():
        status.future = len(storage.oldest(LATEST, FUTURE_AT_MOST, (expiry.latest(), ""), never))


def _look_at_hot(storage: Storage, policy: Policy, holds: Holds, status: Status) -> None:
    def count(until: datetime, expired: int = 0) -> int:
        """The number of rows up to a time, without so many that have expired."""
        return max(storage.database.count_oldest(until, expired + COUNTED_AT_MOST) - expired, 0)

    late = _of_late(policy)
    status.hot = count(LATEST)
    oldest = storage.oldest(LATEST, 1, None, never)
    status.oldest_hot = format_time(oldest[0].created_at) if oldest else None
    status.due_to_purge = expired = count(policy.cutoff)
    if expired == COUNTED_AT_MOST:  # the rest cannot be told from them
        status.due_to_archive = status.overdue_to_archive = 0
    else:
        status.due_to_archive = count(policy.archive_until, expired)
        status.overdue_to_archive = max(count(late.archive_until, expired), 0)
    if not holds.all:
        status.overdue_to_purge = count(late.cutoff)


def _look_at_cold(
    archive: Archive,
    policy: Policy,
    holds: Holds,
    status: Status,
    check_time: Callable[[], None],
) -> None:
    late = _of_late(policy).cutoff
    times = []
    for told in _told(archive, late, status.damaged, check_time):
        status.segments += 1
        status.cold += told.count
        status.archive_bytes += told.bytes
        times += [told.oldest, told.newest]
        if isinstance(told, Manifest):
            status.overdue_to_purge += told.newest <= late and not holds.may_hold(told)
    if times:
        status.oldest_cold, status.newest_cold = format_time(min(times)), format_time(max(times))


def _look_at_large(archive: Archive, status: Status, check_time: Callable[[], None]) -> None:
    for entries in batched(LargeObjects(archive.files).listed(), LISTED_AT_ONCE):
        check_time()
        status.large_texts += len(entries)
        status.large_texts_bytes += sum(entry.bytes for entry in entries)


def _told(
    archive: Archive, late: datetime, damaged: list[str], check_time: Callable[[], None]
) -> Iterator[Head | Manifest]:
    """What is known of each segment: its head, or its manifest if that is needed.

    It is where there is no head, and where all rows were created until `late`.
    """
    for day in archive.days():
        check_time()
        for segment in archive.listed(day)[0]:
            if segment.head is not None and segment.head.newest > late:
                yield segment.head
                continue
            check_time()
            try:
                manifest = archive.manifest(segment.segment)
            except DamagedArchive as error:
                damaged.append(error.name)
                continue
            if manifest is not None:
                yield manifest


def _of_late(policy: Policy) -> Policy:
    """The policy by which the last runs should have worked."""
    return replace(policy, now=policy.now - OVERDUE)
