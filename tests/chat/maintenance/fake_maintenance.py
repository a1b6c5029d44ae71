"""A maintenance command for tests: it does what it is made with."""

import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

from chat.management.base import MaintenanceCommand
from chat.metrics import files as metrics_files
from storage.interface import Storage

NAME = "fake_maintenance"
SUCCESS = "chat_maintenance_success_timestamp_seconds"
ENDED = "chat_maintenance_run_timestamp_seconds"


@dataclass
class Report:
    moved: int = 0
    kinds: Counter = field(default_factory=Counter)
    remaining: int | None = 0


class Command(MaintenanceCommand):
    report_class = Report

    def __init__(self, work: Any = lambda run, report: None, **attributes: Any) -> None:
        super().__init__()
        self._work = work
        self.seen = []
        """What each run was told: the run and all options."""
        for name, value in attributes.items():
            setattr(self, name, value)

    def add_options(self, parser: Any) -> None:
        parser.add_argument("--colour")

    def work(self, storage: Storage, run: Any, report: Any, options: Any) -> None:
        self.seen.append((run, options))
        self._work(run, report)


def call(command: Any, *arguments: Any) -> Any:
    """As `manage.py` would; gives the exit status. What is unexpected is raised."""
    try:
        command.run_from_argv(["manage.py", NAME, *map(str, arguments)])
    except SystemExit as end:
        return end.code
    return 0


def moves(count: int, remaining: int = 0) -> Any:
    def work(run: Any, report: Any) -> None:
        for _ in range(count):
            run.step(report.moved)
            report.moved += 1
        report.remaining = remaining

    return work


def raises(error: Any, moved: int = 0) -> Any:
    def work(run: Any, report: Any) -> None:
        report.moved = moved
        raise error

    return work


def left(name: str = NAME) -> Any:
    """The samples that a command has left: by name, and by the label that is not the command's."""
    found = {}
    for metric in metrics_files.left_by_commands():
        for sample in metric.samples:
            if sample.labels.pop("command") == name:
                found[sample.name, *sample.labels.values()] = sample.value
    return found


def work_until_told(run: Any, report: Any) -> None:
    """Step after step; the file DATA_DIR/working says that it has begun."""
    from django.conf import settings

    report.remaining = 1_000_000
    for _ in range(1_000_000):
        run.step(report.moved)
        report.moved += 1
        report.remaining -= 1
        Path(settings.DATA_DIR, "working").touch()
        time.sleep(0.01)


def copy_database(folder: Path) -> None:
    """The migrated, empty database of the tests, for processes with their data in `folder`.

    It has a write-ahead log: of processes that all open it for the first time, only one can turn
    the log on, and SQLite lets no other wait for that.
    """
    copy = folder / "data.sqlite3"
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(copy)])
    with closing(sqlite3.connect(copy)) as copied:
        copied.execute("PRAGMA journal_mode = WAL")
