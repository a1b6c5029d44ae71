"""Backups and restores that are cut short at every step.

    python -m tests.storage.backups.interruptions ACTION HOW FOLDER FIRST STRIDE

For n = FIRST, FIRST + STRIDE, ... a child process begins with a copy of FOLDER/start in FOLDER/n
and is cut short before its n-th call that changes or syncs a file: with HOW `killed` it is gone at
once, as by kill -9; with `failing` that call alone raises EIO. FOLDER/n-after is what it has left.
Then another child does the same again in FOLDER/n, undisturbed. The program ends with the first n
that is not reached, and prints as JSON each n and how its two children have ended.
"""

import errno
import io
import json
import os
import shutil
import sqlite3
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

import config  # noqa: F401  (before Django: it puts pysqlite3 in the place of sqlite3)

django.setup()

from django.conf import settings  # noqa: E402

from storage.backups import selection  # noqa: E402
from storage.backups.base import BackupReport, RestoreReport  # noqa: E402
from storage.exceptions import StorageError  # noqa: E402
from storage.models import ChatInteraction  # noqa: E402
from storage.sqlite import base  # noqa: E402

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OURS = ("/storage/backups/", "/storage/sqlite/", "/storage/archive/durable.py")
FILES = ("chmod", "fsync", "link", "mkdir", "open", "rename", "replace", "unlink")
KILLED, COMPLETE, REFUSED, FAILED = 9, 0, 1, 99


def erase(restored: Any) -> Any:
    """As the ledger would."""
    return ChatInteraction.objects.using(restored.alias).filter(pk="id-9").delete()[0]


def restore(again: Any, **options: Any) -> None:
    selection.sql_backups().restore(
        "latest",
        NOW,
        RestoreReport(),
        before_live=erase,
        stale_lock="lifecycle",
        expired=True,
        **options,
    )


def restore_and_keep(again: Any) -> None:
    restore(again, keep_old=True)


def migrate(again: Any) -> None:
    restore(again, migrate=True)


def back_up(again: Any) -> None:
    """The one of before expires with it."""
    selection.sql_backups().take(NOW + timedelta(seconds=again), BackupReport())


class Interruption:
    """Cuts this process short before the n-th call."""

    def __init__(self, how: Any, number: int) -> None:
        self._how, self._number = how, number
        self.calls = 0
        self._counting = threading.Lock()
        for name in FILES:
            self._watch(os, name)
        self._watch(io, "open")
        if how == "killed":
            connect = sqlite3.connect
            sqlite3.connect = lambda *args, **options: connect(
                *args, **{"factory": self._connection()} | options
            )

    def _watch(self, module: Any, name: str) -> None:
        function = getattr(module, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            self._count(f"{name} {arguments[:2]}")
            return function(*arguments, **options)

        setattr(module, name, watched)

    def _connection(self) -> Any:
        interruption = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: Any, *arguments: Any) -> Any:
                if not sql.startswith("SELECT"):
                    interruption._count(sql)
                return super().execute(sql, *arguments)

            def backup(self, *arguments: Any, **options: Any) -> Any:
                interruption._count("backup")
                return super().backup(*arguments, **options)

            def close(self) -> Any:
                interruption._count("close")
                return super().close()

        return Connection

    def _count(self, what: str) -> None:
        if not _is_ours(sys._getframe(2)):
            return
        with self._counting:  # chunks are written by several threads
            self.calls += 1
            is_reached = self.calls == self._number
        if not is_reached:
            return
        if self._how == "killed":
            os._exit(KILLED)
        raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} at {what}")


def _is_ours(frame: Any) -> bool:
    """Not what Django and the interpreter open for themselves."""
    while frame is not None:
        if any(path in frame.f_code.co_filename for path in OURS):
            return True
        if "importlib" in frame.f_code.co_filename:
            return False
        frame = frame.f_back
    return False


def child(action: Any, how: Any, number: int, folder: Path) -> Any:
    """Run the action in a process of its own; gives its exit status."""
    process_id = os.fork()
    if process_id:
        return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    settings.BACKUP_DIR = folder / "backups"
    selection._database = lambda: folder / "data.sqlite3"
    interruption = Interruption(how, number) if number else None
    try:
        action(again=not number)
    except StorageError:
        os._exit(REFUSED)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(FAILED)
    reached = interruption is not None and interruption.calls >= number
    os._exit(KILLED if reached else COMPLETE)


def main() -> None:
    action, how, folder = globals()[sys.argv[1]], sys.argv[2], Path(sys.argv[3])
    start, stride = map(int, sys.argv[4:])
    base.close_idle_connections()
    ends = []
    for number in range(start, 2000, stride):
        place = folder / str(number)
        shutil.copytree(folder / "start", place)
        first = child(action, how, number, place)
        shutil.copytree(place, folder / f"{number}-after")
        again = child(action, how, 0, place) if first != COMPLETE else COMPLETE
        ends.append((number, first, again))
        if first == COMPLETE:
            break
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
