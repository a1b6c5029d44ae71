"""A database of the project and a raw connection to it, for what is measured in this process."""

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import config  # noqa: F401  (before sqlite3)
from harness.data import Text
from tests import sqlite

USERS = 40
COLUMNS = (
    "interaction_id, user_id, message, response, model_used, "
    "input_tokens, output_tokens, created_at, updated_at"
)
INSERT = f"INSERT INTO storage_chatinteraction ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"
FIRST_SECOND = 1_750_000_000

Row = tuple[Any, ...]


def set_up(path: Path, retention_days: int = 10_000) -> None:
    """Django on this database, migrated. By default rows are kept that have fixed times."""
    os.environ["DATABASE_URL"] = f"sqlite:///{path}"
    os.environ["DATA_DIR"] = str(path.parent)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    os.environ["RETENTION_TOTAL_DAYS"] = str(retention_days)
    import django

    django.setup()
    from storage.startup.schema import migrate_under_lock

    migrate_under_lock()


def connect(path: Path) -> Any:
    """A raw connection with the project's pragmas, and so its durability and its checkpoints."""
    from django.db import connections

    connection = sqlite.connect(path, isolation_level=None, timeout=20, check_same_thread=False)
    connection.executescript(connections.settings["default"]["OPTIONS"]["init_command"])
    return connection


class Rows:
    """Rows with ids that sort by time, as UUIDv7 does; one row a second."""

    def __init__(self, texts: list[Text]) -> None:
        self._texts = texts

    def row(self, number: int) -> Row:
        """Row `number`."""
        seconds = FIRST_SECOND + number
        created_at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + ".123456"
        message, response = self._texts[number % len(self._texts)]
        user = f"user-{number % USERS:03}"
        return identifier(number), user, message, response, "model-1", 40, 450, *[created_at] * 2

    def new(self) -> Row:
        """A new row of a random user, of now."""
        from storage.models.interaction import new_interaction_id

        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + ".123456"
        message, response = random.choice(self._texts)
        user = random_user()
        return new_interaction_id(), user, message, response, "model-1", 40, 450, now, now

    def interaction(self) -> Any:
        """The same as an object."""
        from storage.models import ChatInteraction

        message, response = random.choice(self._texts)
        return ChatInteraction(
            user_id=random_user(),
            message=message,
            response=response,
            model_used="model-1",
            input_tokens=40,
            output_tokens=450,
        )

    def fill(self, path: Path, start: int, end: int) -> None:
        """Insert rows `start` to `end`, fast."""
        connection = connect(path)
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-524288")
        for first in range(start, end, 50_000):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT, map(self.row, range(first, min(first + 50_000, end))))
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


def identifier(number: int) -> str:
    """The id of row `number`."""
    text = f"{(FIRST_SECOND + number) * 1000:012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-{number:012x}"


def random_user() -> str:
    """One of the users, who share all rows."""
    return f"user-{random.randrange(USERS):03}"
