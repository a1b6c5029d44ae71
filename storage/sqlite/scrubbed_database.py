"""The file of a database, as scrubbing sees it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.db import connections

from storage.models import Lock
from storage.sqlite import checkpoints, locks, scrubbing
from storage.sqlite.scrubbing import Progress, ScrubbedFile
from storage.sqlite.statements import Statements

NAME = "scrub"
"""The row in the table of locks that says how far the pass is."""


class ScrubbedDatabase(ScrubbedFile):
    """A database; its progress is in its table of locks."""

    remedy = "Stop all servers and let SQLite rewrite the file: VACUUM."

    def __init__(self, statements: Statements) -> None:
        self.statements = statements
        self.path = str(connections[statements.alias].settings_dict["NAME"])

    def value(self, pragma: str) -> int:
        ((value,),) = self.statements.rows(f"PRAGMA {pragma}", {})
        return int(value)

    def writing(self) -> AbstractContextManager[object]:
        return self.statements.writing()

    def is_emptied(self) -> bool:
        return checkpoints.is_emptied(self.statements)

    def progress(self) -> Progress | None:
        if not self._keeps_progress:
            return None
        row = Lock.objects.using(self.statements.alias).filter(name=NAME).first()
        if row is None:
            return None
        next_page, schema_version = map(int, row.owner.split("/"))
        return Progress(row.until.astimezone(UTC), next_page, schema_version)

    def note(self, progress: Progress) -> None:
        if not self._keeps_progress:
            return
        owner = f"{progress.next_page}/{progress.schema_version}"
        locks.put(self.statements.alias, NAME, owner, progress.began)

    def end(self, progress: Progress) -> None:
        if self._keeps_progress:
            end_pass(self.statements.alias)
        else:
            version = self.value("user_version")
            self.statements.write(f"PRAGMA user_version = {version}", {})

    @cached_property
    def _keeps_progress(self) -> bool:
        """Whether there are locks. In production the SQL database, which is small, has none."""
        return Lock._meta.db_table in self.statements.tables()


def scrub(statements: Statements, since: datetime, check_time: Callable[[], None]) -> datetime:
    """Leave no byte in the files of a database of what was deleted. See `scrubbing.scrub`."""
    connection: Any = connections[statements.alias]
    if connection.is_in_memory_db():
        return max(datetime.now(UTC), since)
    file = ScrubbedDatabase(statements)
    file.value("schema_version")  # makes the file, and registers as its user
    return scrubbing.scrub(file, since, check_time)


def seconds(statements: Statements) -> float:
    """How many seconds a pass takes, about, if little has to be overwritten."""
    file = ScrubbedDatabase(statements)
    return file.value("page_count") * file.value("page_size") / scrubbing.BYTES_PER_SECOND


def end_pass(alias: str) -> None:
    """Let the next pass begin anew. Call it before pages change their places."""
    Lock.objects.using(alias).filter(name=NAME).delete()
