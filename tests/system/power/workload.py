"""Programs whose every call is recorded: what they promised at which moment is in the record, too.

    python -m tests.system.power.workload SCENARIO

DATA_DIR has a database with all tables. `WITHOUT` in the environment names a protection to take
away: `full_sync`, `synced_files` or `one_transaction`.
"""

import ctypes
import json
import os
import random
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import django

import config  # noqa: F401  (before Django: it puts pysqlite3 in the place of sqlite3)

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402

from storage import get_storage  # noqa: E402
from storage.models import ChatInteraction  # noqa: E402
from storage.models.idempotency import Idempotency  # noqa: E402
from storage.sqlite import idempotency_keys, in_use  # noqa: E402
from storage.sqlite.base import close_pool  # noqa: E402
from storage.sqlite.statements import Statements  # noqa: E402

THREADS = 6
BATCH_SIZE = 4
PAGES_OF_LOG = 25
"""Pages after which SQLite empties its log: so few that it does so again and again."""

_library: Any = ctypes.CDLL(None)


def tell(**facts: Any) -> None:
    """Put facts into the record, at this place."""
    text = json.dumps(facts).encode()
    _library.record_mark(text, ctypes.c_size_t(len(text)))


def without_protection() -> None:
    """Take away what WITHOUT names."""
    options = connections.settings["default"]["OPTIONS"]
    pages = f"wal_autocheckpoint={PAGES_OF_LOG}"
    options["init_command"] = options["init_command"].replace("wal_autocheckpoint=4000", pages)
    assert pages in options["init_command"]
    match os.environ.get("WITHOUT"):
        case "full_sync":
            options["init_command"] = options["init_command"].replace("FULL", "NORMAL")
        case "synced_files":
            # SQLite calls fsync itself, so this is of the files that we write.
            setattr(os, "fsync", lambda descriptor: None)  # noqa: B010
        case "one_transaction":
            remember = idempotency_keys.remember

            def remember_later(statements: Statements, *arguments: Any) -> None:
                statements.write("COMMIT", {})
                statements.write("BEGIN IMMEDIATE", {})
                remember(statements, *arguments)

            setattr(idempotency_keys, "remember", remember_later)  # noqa: B010


class Writer:
    """One thread's interactions."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)
        self._storage = get_storage()
        self._user = f"user-{number}"
        self._own: dict[str, str] = {}

    def write(self, times: int) -> None:
        """That many writes of any kind."""
        kinds = [self.create, self.create_with_key, self.create_many, self.save]
        for _ in range(times):
            some = [*kinds, self.update, self.update, self.delete] if self._own else kinds
            self._random.choice(some)()
            connections.close_all()  # as at the end of a request

    def create(self, idempotency: Idempotency | None = None) -> None:
        row = self._new()
        self._told([row], lambda: self._storage.create_interaction_sync(row, idempotency))

    def create_with_key(self) -> None:
        row, key = self._new(), str(uuid4())
        tell(keys={key: row.interaction_id})
        idempotency = Idempotency(key=key, request="")
        self._told([row], lambda: self._storage.create_interaction_sync(row, idempotency))

    def create_many(self) -> None:
        rows = [self._new() for _ in range(BATCH_SIZE)]
        self._told(rows, lambda: self._storage.create_interactions_sync(rows))

    def save(self) -> None:
        row = self._new()
        self._told([row], lambda: self._storage.save_interaction_sync(row))

    def update(self) -> None:
        row_id, response = self._random.choice(list(self._own)), self._text()
        changes = {"response": response}
        tell(begun={row_id: response})
        self._storage.update_interaction_sync(row_id, changes)
        tell(done={row_id: response})
        self._own[row_id] = response

    def delete(self) -> None:
        row_id = self._random.choice(list(self._own))
        tell(begun={row_id: None})
        assert self._storage.delete_interaction_sync(row_id)
        tell(done={row_id: None})
        del self._own[row_id]

    def _told(self, rows: list[ChatInteraction], write: Callable[[], Any]) -> None:
        contents = {row.interaction_id: row.response for row in rows}
        tell(begun=contents)
        write()
        tell(done=contents)
        self._own |= contents

    def _new(self, **fields: Any) -> ChatInteraction:
        values = {"user_id": self._user, "message": str(uuid4()), "response": self._text()}
        return ChatInteraction(**values, model_used="model-1", **fields)

    def _text(self) -> str:
        return str(uuid4()) * self._random.choice((1, 3, 10, 150))


def writes() -> None:
    """Threads that write at once, so that commits are shared."""
    writers = [Writer(number) for number in range(THREADS)]
    threads = [threading.Thread(target=writer.write, args=[6]) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def imported(number: int, user_id: str, days: float) -> dict[str, str | None]:
    """Save interactions that are `days` old. Returns their contents by id."""
    created = datetime.now(UTC) - timedelta(days=days)
    rows = [
        ChatInteraction(
            user_id=user_id,
            message=str(uuid4()),
            response=str(uuid4()) * 5,
            model_used="model-1",
            created_at=created + timedelta(seconds=index),
            updated_at=created + timedelta(seconds=index),
        )
        for index in range(number)
    ]
    contents: dict[str, str | None] = {row.interaction_id: row.response for row in rows}
    tell(begun=contents)
    get_storage().create_interactions_sync(rows)
    tell(done=contents)
    return contents


def backup() -> str:
    """Take a backup; it is promised when the command has ended. Returns its name."""
    before = set(_backups())
    call_command("backup")
    (name,) = set(_backups()) - before
    tell(backups=[name])
    return name


def little_of_all() -> None:
    """A little of everything, as quickly as can be."""
    Writer(0).write(6)
    imported(3, "ada", 40)
    backup()
    call_command("archive_interactions")


def backups() -> None:
    """Backups of a database that changes, and the last one restored, with and without the old."""
    first = imported(12, "ada", 1)
    backup()
    second = imported(12, "bob", 1)
    name = backup()
    third = imported(3, "cy", 1)
    for words in (["--keep-old"], []):
        _leave_database()
        tell(begun=dict.fromkeys(third))
        call_command("restore", name, "--yes", *words)
        tell(done=first | second | dict.fromkeys(third))
        third = imported(3, "cy", 1)


def archive() -> None:
    """Rows become cold, are changed, erased and brought back."""
    old = imported(10, "ada", 40.0)
    imported(6, "bob", 40.1)
    call_command("archive_interactions")
    erased = imported(5, "eve", 40.2)
    call_command("archive_interactions")
    row_id = next(iter(old))
    tell(begun={row_id: None})
    assert get_storage().delete_interaction_sync(row_id)
    tell(done={row_id: None})
    tell(begun=dict.fromkeys(erased))
    call_command("erase_user", "eve")
    tell(done=dict.fromkeys(erased))
    call_command("purge_interactions")
    day = (datetime.now(UTC) - timedelta(days=40)).date()
    call_command("restore_archive", day.isoformat())


SCENARIOS = {
    "little_of_all": little_of_all,
    "writes": writes,
    "backups": backups,
    "archive": archive,
}


def _backups() -> list[str]:
    return [path.stem for path in settings.BACKUP_DIR.glob("*.json")]


def _leave_database() -> None:
    name = str(connections.settings["default"]["NAME"])
    connections.close_all()
    close_pool(name)
    in_use.release(name)


def main() -> None:
    without_protection()
    SCENARIOS[sys.argv[1]]()
    connections.close_all()


if __name__ == "__main__":
    main()
