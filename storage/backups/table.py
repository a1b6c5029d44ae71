"""Backups of the DynamoDB table, which are its point-in-time recovery."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.core.cache.backends.dummy import DummyCache
from django.core.exceptions import ImproperlyConfigured

from storage.archive.archive import configured_archive
from storage.backups import recovery
from storage.backups.base import (
    BackupReport,
    Backups,
    BeforeLive,
    Copy,
    NotRestored,
    RestoredDatabase,
    RestoreReport,
)
from storage.backups.inspection import CheckTime
from storage.dynamodb.advice import advice
from storage.dynamodb.client import Client
from storage.exceptions import StorageUnavailable
from storage.records.json import format_time
from storage.startup.selection import cloud_storage


class TableBackups(Backups):
    """DynamoDB keeps the past of `table` itself. `connect` makes a client of it."""

    def __init__(self, table: str, connect: Callable[[], Client]) -> None:
        self._table = table
        self._connect = connect

    def take(
        self,
        now: datetime,
        report: BackupReport,
        *,
        dry_run: bool = False,
        keep_expired: bool = False,
        check_time: CheckTime = lambda: None,
    ) -> None:
        """Check that the recovery is on, and report how far back it reaches."""
        with _advised():
            window = recovery.window(self._client())
        report.recovery = {
            "table": self._table,
            "earliest": format_time(window.earliest),
            "latest": format_time(window.latest),
            "days": window.days,
        }

    def copies(self) -> list[Copy]:
        gone_by = datetime.now(UTC) + timedelta(days=recovery.RECOVERY_DAYS)
        return [Copy(f"point-in-time recovery of {self._table}", gone_by)]

    def restore(
        self,
        name: str,
        at: datetime | None,
        report: RestoreReport,
        *,
        wait: Callable[[], None],
        before_live: BeforeLive,
        in_use: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Make a table `name` of what the table was `at` a time, or of late. Fills `report`.

        DynamoDB takes minutes. `wait` is called meanwhile, and may raise; another call goes on. A
        table that is ready, and may be `in_use`, is refused.
        """
        source, target = self._client(), self._of(name, report)
        if name == source.table:
            raise NotRestored(
                f"DYNAMODB_TABLE={name} is what is restored from. Choose another name for the "
                "new table."
            )
        change = _change(target, report, before_live)
        with _advised():
            if dry_run:
                recovery.check(source, target, at, in_use=in_use)
            else:
                report.done = recovery.restore(source, target, at, wait, change, in_use=in_use)

    def bring_up_to_date(
        self,
        name: str,
        report: RestoreReport,
        *,
        wait: Callable[[], None],
        before_live: BeforeLive,
        in_use: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Erase from the table `name`, which nobody uses yet, whoever was erased since it was."""
        target = self._of(name, report)
        with _advised():
            if dry_run:
                recovery.check_there(target, in_use=in_use)
            else:
                change = _change(target, report, before_live)
                recovery.bring_up_to_date(target, wait, change, in_use=in_use)

    def _of(self, name: str, report: RestoreReport) -> Client:
        client = self._client()
        client.table = report.name = name
        return client

    def _client(self) -> Client:
        try:
            return self._connect()
        except ImproperlyConfigured as error:
            raise NotRestored(str(error)) from error


def _change(target: Client, report: RestoreReport, before_live: BeforeLive) -> Callable[[], None]:
    def change() -> None:
        archive = configured_archive()
        storage = cloud_storage(target, DummyCache("", {}), archive)
        report.erased = before_live(RestoredDatabase(storage, None, archive))

    return change


@contextmanager
def _advised() -> Iterator[None]:
    """Adds what an operator can do to what DynamoDB refuses."""
    try:
        yield
    except StorageUnavailable as error:
        raise NotRestored(advice(error)) from error
