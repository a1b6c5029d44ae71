"""Stores of any number of rows, made in bulk: the same people and days in each of them.

    python -m tests.system.growth.filling ROWS

fills the database and the archive that the environment names, both new. The rows of 91 days go past
the interface, which would take hours: those of the last 31 days into the database, the others into
the archive with their stubs. So what a night has to archive is due, and what it has to purge.
"""

import json
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

DAYS = 91
HOT_DAYS = 31
USERS = 2_000
RARE_USERS = 30
ROWS_OF_RARE = 3
"""All of them cold, on days far apart."""

TEXTS = 4_999
MESSAGE_WORDS, RESPONSE_WORDS = 20, 80

Values = tuple[str, str, str, str, str, int, int, datetime, datetime]
COLUMNS = (
    "interaction_id, user_id, message, response, model_used, "
    "input_tokens, output_tokens, created_at, updated_at"
)
INSERT_ROW = f"INSERT INTO storage_chatinteraction ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"
INSERT_STUB = (
    "INSERT INTO storage_archivedinteraction (interaction_id, created_at, segment) VALUES (?,?,?)"
)


def user(number: int) -> str:
    """One of the users who share nearly all rows."""
    return f"user-{number:04}"


def rare_user(number: int) -> str:
    """One of those who have a few cold rows."""
    return f"rare-{number:02}"


@dataclass(frozen=True)
class Content:
    """The rows of a store by number, 0 the oldest; a row is made when it is asked for."""

    rows: int
    end: datetime
    """Just after the last row."""
    users: int = USERS
    days: int = DAYS

    @property
    def cold(self) -> int:
        """How many of them are cold: these come first."""
        return self.rows * (self.days - HOT_DAYS) // self.days

    def time(self, number: int) -> datetime:
        return self.end - timedelta(days=self.days) * ((self.rows - number) / self.rows)

    def identifier(self, number: int) -> str:
        """As UUIDv7: later ones sort after earlier ones."""
        scattered = number * 0x9E3779B97F4A7C15 % 2**60
        milliseconds = int(self.time(number).timestamp() * 1000)
        digits = f"{milliseconds:012x}7{number & 0xFFF:03x}8{scattered:015x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def user_of(self, number: int) -> str:
        return self._rare.get(number) or user(number * 2_654_435_761 % 2**32 % self.users)

    def values(self, number: int) -> Values:
        time = self.time(number)
        message, response = _TEXTS[number % TEXTS]
        identifier = self.identifier(number)
        owner = self.user_of(number)
        return identifier, owner, message, response, "model-1", 20, 80, time, time

    def numbers_of(self, user_id: str) -> list[int]:
        """The rows of a user."""
        return [number for number in range(self.rows) if self.user_of(number) == user_id]

    @property
    def _rare(self) -> dict[int, str]:
        return _rare_rows(self.cold)


def days_of(content: Content) -> Iterator[range]:
    """The cold rows by day."""
    first = 0
    while first < content.cold:
        last, day = first, content.time(first).date()
        step = max(content.rows // content.days, 1)
        while last < content.cold and content.time(last).date() == day:
            last = min(last + step, content.cold)
        while content.time(last - 1).date() != day:
            last -= 1
        yield range(first, last)
        first = last


_rare: dict[int, dict[int, str]] = {}


def _rare_rows(cold: int) -> dict[int, str]:
    if cold not in _rare:
        apart = cold // (ROWS_OF_RARE * RARE_USERS + 1)
        _rare[cold] = {
            (copy * RARE_USERS + number + 1) * apart: rare_user(number)
            for copy in range(ROWS_OF_RARE)
            for number in range(RARE_USERS)
        }
    return _rare[cold]


def _make_texts() -> list[tuple[str, str]]:
    """Made-up texts of about 650 bytes, which compress about as prose does."""
    generator = random.Random(13)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(generator.choices(letters, k=generator.randint(2, 9))) for _ in range(4_000)]

    def text(length: int) -> str:
        return " ".join(generator.choices(words, k=generator.randint(length // 2, 3 * length // 2)))

    return [(text(MESSAGE_WORDS), text(RESPONSE_WORDS)) for _ in range(TEXTS)]


_TEXTS = _make_texts()


Segment = tuple[str, list[int]]
"""A segment's name, and the numbers of the rows in it."""


def write_day(content: Content, numbers: range) -> list[Segment]:
    """Archive the rows of one day."""
    from chat.maintenance.archiving import cut
    from storage import get_storage
    from storage.models import ChatInteraction
    from storage.models.interaction import FIELDS

    archive, day = get_storage().archive, content.time(numbers[0]).date()
    values = (dict(zip(FIELDS, content.values(number), strict=True)) for number in numbers)
    rows = list(map(ChatInteraction.from_stored, values))
    number_of = {row.interaction_id: n for row, n in zip(rows, numbers, strict=True)}
    written = []
    for batch in cut(rows):
        segment = archive.new_segment(day)
        archive.write(segment, batch)
        written.append((segment, [number_of[row.interaction_id] for row in batch]))
    return written


def write_archive(content: Content, processes: int) -> list[Segment]:
    """Archive all cold rows."""
    days = list(days_of(content))
    if processes == 1:
        written = [write_day(content, day) for day in days]
    else:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            written = pool.starmap(write_day, [(content, day) for day in days], chunksize=1)
    return [segment for day in written for segment in day]


def to_text(time: datetime) -> str:
    """A time as Django keeps it in SQLite."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def insert(database: Any, content: Content, segments: Sequence[Segment]) -> None:
    """Put the hot rows and the stubs of the others into a database with tables."""
    database.execute("PRAGMA synchronous=OFF")
    database.execute("PRAGMA cache_size=-262144")
    database.execute("BEGIN")
    database.executemany(INSERT_ROW, (parameters(content, n) for n in hot(content)))
    stubs = sorted((number, segment) for segment, numbers in segments for number in numbers)
    database.executemany(
        INSERT_STUB,
        (
            (content.identifier(number), to_text(content.time(number)), segment)
            for number, segment in stubs
        ),
    )
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def hot(content: Content) -> range:
    """The numbers of the hot rows."""
    return range(content.cold, content.rows)


def parameters(content: Content, number: int) -> tuple[Any, ...]:
    """The parameters of INSERT_ROW."""
    *values, created_at, updated_at = content.values(number)
    return (*values, to_text(created_at), to_text(updated_at))


def fill(content: Content, *, processes: int = 1) -> None:
    """Fill the database and the archive that the settings name."""
    from django.db import connections

    from chat.maintenance.identity import confirm_archive
    from storage import get_storage
    from storage.startup.schema import migrate_under_lock
    from tests.sqlite import connect

    migrate_under_lock()
    confirm_archive(get_storage())
    connections.close_all()
    segments = write_archive(content, processes)
    database = connect(str(connections.settings["default"]["NAME"]), isolation_level=None)
    try:
        insert(database, content, segments)
    finally:
        database.close()


def skip_syncs() -> None:
    """Wait for no disk in this process: what is lost with the power is made again."""
    setattr(os, "fsync", lambda descriptor: None)  # noqa: B010


def main() -> None:
    """Fill what the environment names."""
    import config  # noqa: F401  (before Django: see config/__init__.py)

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    skip_syncs()
    import django

    django.setup()
    content = Content(int(sys.argv[1]), datetime.now(UTC))
    fill(content, processes=os.cpu_count() or 1)
    print(json.dumps({"rows": content.rows, "end": content.end.isoformat()}))


if __name__ == "__main__":
    main()
