"""What is stored, and what room there is: asked at a scrape, at most every REMEMBER_SECONDS.

None of it grows with what is stored, but several scrapers must not add up.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chat import operations
from storage.exceptions import StorageError
from storage.sql.vendors import is_postgresql

REMEMBER_SECONDS = 10.0

_remembered: tuple[float, list[Metric]] = (0.0, [])


class Store(Collector):
    """What cannot be told now has no samples."""

    def collect(self) -> Iterator[Metric]:
        """Families of gauges."""
        global _remembered
        asked, found = _remembered
        if not found or time.monotonic() - asked > REMEMBER_SECONDS:
            found = [_rows(), *_disks(), _files(), _backup()]
            _remembered = time.monotonic(), found
        yield from found


def forget() -> None:
    """Ask again at the next scrape."""
    global _remembered
    _remembered = 0.0, []


def _rows() -> Metric:
    family = GaugeMetricFamily(
        "chat_store_interactions",
        "Interactions that are hot, cold (archived), due (to be archived or deleted), and overdue "
        "(due for more than two days).",
        labels=["state"],
    )
    with suppress(StorageError):
        tiers = operations.tiers(datetime.now(UTC))
        for state in ("hot", "cold", "due", "overdue"):
            family.add_metric([state], getattr(tiers, state))
    return family


def _disks() -> tuple[Metric, Metric]:
    free = GaugeMetricFamily(
        "chat_disk_free_bytes",
        "Bytes that this user may still write, by place: data (DATA_DIR), backups (BACKUP_DIR).",
        labels=["place"],
    )
    size = GaugeMetricFamily(
        "chat_disk_size_bytes", "The size of the same disks.", labels=["place"]
    )
    for place, folder in (("data", settings.DATA_DIR), ("backups", settings.BACKUP_DIR)):
        with suppress(OSError):
            usage = shutil.disk_usage(_existing(folder))
            free.add_metric([place], usage.free)
            size.add_metric([place], usage.total)
    return free, size


def _existing(folder: Path) -> Path:
    """The folder, or the one in which it will be."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _files() -> Metric:
    family = GaugeMetricFamily(
        "chat_sqlite_file_bytes",
        "The size of the SQL database's files: database, log (the write-ahead log), search (the "
        "index of words, with its log).",
        labels=["file"],
    )
    if is_postgresql():
        return family
    database = os.path.realpath(str(settings.DATABASES["default"]["NAME"]))
    sizes = {end: _size(f"{database}{end}") for end in ("", "-wal", ".search", ".search-wal")}
    for file, end in (("database", ""), ("log", "-wal"), ("search", ".search")):
        if (size := sizes[end]) is not None:
            log = sizes[".search-wal"] or 0 if file == "search" else 0
            family.add_metric([file], size + log)
    return family


def _size(path: str) -> int | None:
    """The bytes of a file, or None if there is none."""
    with suppress(OSError):
        return Path(path).stat().st_size
    return None


def _backup() -> Metric:
    family = GaugeMetricFamily(
        "chat_backup_timestamp_seconds",
        "When the newest backup of the SQL database was made, in seconds since 1970; 0 if none is "
        "there. PostgreSQL, which is backed up by its own means, has no sample.",
    )
    with suppress(OSError, StorageError):
        backup = operations.backup()
        if not backup.is_elsewhere:
            family.add_metric([], 0 if backup.at is None else backup.at.timestamp())
    return family
