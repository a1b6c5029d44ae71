"""What the backups of any database offer, and what the commands report about them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from storage.archive.archive import Archive
from storage.backups.inspection import CheckTime
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.records.texts import TextObject

Contents = Callable[[TextObject], bytes | None]
"""Returns an object with large texts as it is stored.

None if it is not there, or is not what the row says.
"""


def nothing(kept: TextObject) -> bytes | None:
    """Contents of which there is nothing."""
    return None


class NotRestored(StorageError):
    """The database is unchanged; the message says why."""


@dataclass(frozen=True)
class RestoredDatabase:
    """A restored copy that is not in use yet."""

    storage: Storage | None
    """Its interactions, without a cache. None if it has none, as the SQL database in production."""
    alias: str | None
    """Django's name for the copy, which has API keys and the like. None for a DynamoDB table."""
    archive: Archive
    """What the copy has to agree with."""
    segments: Mapping[str, str] = field(default_factory=dict)
    """Segments that the archive had at the time of the backup, with their generations, as far as
    they are known (`storage.archive.generations`)."""
    large_texts: Contents = nothing
    """Objects with large texts that the backup has."""


CheckLocks = Callable[[Mapping[str, str]], None]
"""Is called with the owners of a backup's locks by their names. Raises if it must not be used."""

BeforeLive = Callable[[RestoredDatabase], int]
"""Prepares a copy for use, and erases from it whoever was erased since the backup.

Returns the number of erased rows. If it raises, the copy is not used.
"""


@dataclass(frozen=True)
class Needs:
    """What a backup does not have in it, and a restore needs. None: from before it was recorded."""

    secret_key: str | None = None
    """The fingerprint of SECRET_KEY, by which the ledger of erasures and the archive know users."""
    archive: str | None = None
    """The folder or bucket of the archive."""


class Copy(NamedTuple):
    """A copy of data that may since have been deleted."""

    name: str
    gone_by: datetime | None
    """When it is deleted, at the latest. None: only its operator knows."""


@dataclass
class BackupReport:
    """What a run of `backup` has done."""

    name: str = ""
    bytes: int = 0
    """Of the database."""
    written: int = 0
    """Bytes of what has changed since earlier backups, compressed."""
    rows: int = 0
    large_texts: int = 0
    """Objects with large texts that the rows name, each copied once for all backups."""
    large_texts_missing: int = 0
    """Of these, those that are not in the archive, or are damaged there: see verify_archive."""
    expires_at: str = ""
    needs: dict[str, str | None] = field(default_factory=dict)
    """What is not in the backup, and a restore needs."""
    deleted: list[str] = field(default_factory=list)
    """Expired backups."""
    recovery: dict[str, Any] | None = None
    """The times that the DynamoDB table can be restored to. None in development."""
    remaining: int = 0


@dataclass
class VerificationReport:
    """What a run of `verify_backup` has found."""

    verified: int = 0
    """Backups that are intact."""
    damaged: list[str] = field(default_factory=list)
    """Files that are not."""
    rows: int = 0
    bytes: int = 0
    remaining: int = 0


@dataclass
class RestoreReport:
    """What a run of `restore` has done."""

    name: str = ""
    """The backup, or the new table."""
    rows: int | None = None
    erased: int = 0
    """Rows of users who were erased since the backup."""
    read: int = 0
    """Interactions that a practice has read back."""
    archived: int = 0
    """Interactions that the copy knows to be in the archive: of a practice, or after its loss."""
    not_in_archive: int = 0
    """Of these, those that the archive has not: they are lost, or were deleted since."""
    needs: dict[str, str | None] = field(default_factory=dict)
    """What the backup's manifest says that a restore needs besides it."""
    large_texts: int = 0
    """Objects with large texts that were put back into the archive."""
    large_texts_lost: int = 0
    """Interactions that were deleted from the copy, because their large texts are nowhere."""
    kept: str | None = None
    """The file with the previous database."""
    file: str | None = None
    """The file that a backup was written to, to be read by other programs."""
    done: list[str] = field(default_factory=list)
    """What was done to the table."""
    remaining: int = 0


class Backups(ABC):
    """The backups of one database. Every method may raise StorageError.

    How a backup is restored differs: a file replaces the SQL database, a table is made beside the
    old one. So `restore` is each subclass's own. It calls a BeforeLive before the copy is used.
    """

    @abstractmethod
    def take(
        self,
        now: datetime,
        report: BackupReport,
        *,
        dry_run: bool = False,
        keep_expired: bool = False,
        check_time: CheckTime = lambda: None,
    ) -> None:
        """Back the database up, or make sure that it keeps its own past. Fills `report`.

        With `keep_expired` no backup is deleted. What `check_time` raises ends it, and then there
        is no new backup.
        """

    @abstractmethod
    def copies(self) -> list[Copy]:
        """All copies that may hold what is deleted now.

        Asks no other service: an erasure over the API lists them in its receipt.
        """
