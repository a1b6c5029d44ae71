"""Whether the store is well, for the admin's first page, the API's status and the metrics."""

from dataclasses import dataclass
from datetime import UTC, datetime

from chat.ingest.summary import summary
from chat.maintenance.policy import Policy
from chat.maintenance.status import OVERDUE
from storage import get_storage
from storage.accounts import usage
from storage.accounts.usage import Ages, Tiers
from storage.backups.selection import backed_up_elsewhere, sql_backups

BACKUP_OVERDUE = OVERDUE

HOURS_OF_INTAKE = 30 * 24
"""Older counts of the intake are deleted."""


@dataclass(frozen=True)
class RunShown:
    """How a command last ended."""

    command: str
    at: datetime
    status: str
    is_well: bool


@dataclass(frozen=True)
class Backup:
    """The newest backup of the SQL database that this machine sees."""

    at: datetime | None
    is_late: bool
    is_elsewhere: bool = False
    """Nothing is known of it: PostgreSQL is backed up by its own means."""


@dataclass(frozen=True)
class Intake:
    """What a kind of tools has sent."""

    title: str
    received: int
    kept: int
    left_out: int
    reasons: str


def tiers(now: datetime) -> Tiers:
    """What is hot, cold, due, and overdue: a run should have done it. Raises StorageError."""
    due, late = Policy.at(now), Policy.at(now - OVERDUE)
    return usage.tiers(
        Ages(due.archive_until.date(), due.cutoff.date()),
        Ages(late.archive_until.date(), late.cutoff.date()),
    )


def runs() -> list[RunShown]:
    """How each command last ended, the latest first. Raises StorageError."""
    ends = get_storage().database.last_ends()
    found = [
        RunShown(command, ended.at, ended.status, ended.status == "done")
        for command, ended in ends.items()
    ]
    return sorted(found, key=lambda run: run.at, reverse=True)


def space() -> dict[str, str | int]:
    """Where the interactions are and, if they are in files, how much of the disk these take.

    Of SQLite's: a write-ahead log can be larger than the database, and just after the start
    everything is in it.
    """
    described = get_storage().database.describe()
    found = {name.replace(" ", "_"): value for name, value in described.items()}
    sizes = [found.get(name, 0) for name in ("bytes", "log_bytes", "search_index_bytes")]
    return found | {"bytes_on_disk": sum(map(int, sizes))}


def backup() -> Backup:
    """The newest backup. Raises OSError."""
    if backed_up_elsewhere():
        return Backup(None, is_late=False, is_elsewhere=True)
    at = sql_backups().newest_at()
    return Backup(at, at is None or datetime.now(UTC) - at > BACKUP_OVERDUE)


def intake(days: int) -> list[Intake]:
    """What tools have sent lately, by kind. Raises StorageError."""
    hours = min(days * 24, HOURS_OF_INTAKE)
    return [
        Intake(
            source.title,
            source.received,
            source.kept,
            source.left_out_count,
            ", ".join(f"{reason.title} {reason.count:,}" for reason in source.left_out),
        )
        for source in summary(hours, datetime.now(UTC))
    ]
