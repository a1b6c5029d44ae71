"""The data set: the same rows for every server, with real or made-up texts."""

import gzip
import hashlib
import json
import random
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

SEED = 20_250_101
USERS = 48
SPREAD = timedelta(days=20)
"""The rows' times lie this far back at most: no retention rule concerns them yet."""

MADE_UP_TEXTS = 5_000
MADE_UP_WORDS = (
    "the of and to in that it for as with on by this from answer question model example "
    "because however first second data people time number system language often several "
    "different important usually between result change value part place world water energy "
    "history city music learn write explain compare naïve café “quoted” \n\n- **item**"
)


class Text(NamedTuple):
    """What was asked and what was answered."""

    message: str
    response: str


class Row(NamedTuple):
    """One interaction. The names are those of the columns in all databases."""

    interaction_id: str
    user_id: str
    message: str
    response: str
    model_used: str
    input_tokens: int
    output_tokens: int
    created_at: datetime
    updated_at: datetime


class DataSet:
    """`count` rows in the order of their times; a row is made when it is asked for."""

    def __init__(self, texts: list[Text], count: int, users: int = USERS) -> None:
        generator = random.Random(SEED)
        self.texts = texts
        self.count = count
        self.users = [f"user-{number:03d}" for number in range(users)]
        self.ids = [str(uuid.UUID(int=generator.getrandbits(128), version=4)) for _ in range(count)]
        self._user_of_row = [generator.randrange(users) for _ in range(count)]
        self.end = end_of_data(datetime.now(UTC))

    def row(self, index: int) -> Row:
        """The row at this place; 0 is the oldest."""
        text = self.texts[index % len(self.texts)]
        created_at = self.end - SPREAD * ((self.count - index) / self.count)
        return Row(
            self.ids[index],
            self.users[self._user_of_row[index]],
            text.message,
            text.response,
            "example-70b-instruct",
            len(text.message) // 4,
            len(text.response) // 4,
            created_at,
            created_at,
        )

    def rows(self) -> Iterator[Row]:
        """All rows, oldest first."""
        return map(self.row, range(self.count))

    def new(self, number: int) -> dict[str, Any]:
        """The body of an interaction to save; the same for every server."""
        text = self.texts[number % len(self.texts)]
        return {
            "user_id": self.users[number * 7 % len(self.users)],
            "message": text.message,
            "response": text.response,
            "model_used": "example-70b-instruct",
            "input_tokens": len(text.message) // 4,
            "output_tokens": len(text.response) // 4,
        }

    def newest_ids(self, user_id: str, limit: int) -> list[str]:
        """The ids of a user's newest rows, newest first."""
        number = self.users.index(user_id)
        found = []
        for index in range(self.count - 1, -1, -1):
            if self._user_of_row[index] == number:
                found.append(self.ids[index])
                if len(found) == limit:
                    break
        return found


def end_of_data(today: datetime) -> datetime:
    """The start of the month, so that databases stay in use for that long and are never old."""
    return today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def texts_of(path: Path | None) -> list[Text]:
    """The texts of a file, or made-up ones."""
    return make_texts() if path is None else load_texts(path)


def load_texts(path: Path) -> list[Text]:
    """The texts of a JSONL file, which may be compressed with gzip.

    Without white space around them, because a DRF serializer takes it away.
    """
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    if not records:
        raise SystemExit(f"{path} has no rows.")
    return [Text(record["message"].strip(), record["response"].strip()) for record in records]


def make_texts() -> list[Text]:
    """Made-up texts of about 150 and 1,800 bytes, the same at each run."""
    generator = random.Random(SEED)
    words = MADE_UP_WORDS.split(" ")

    def text(mean: int) -> str:
        size = int(mean * min(4.0, generator.lognormvariate(-0.2, 0.6)))
        return " ".join(generator.choices(words, k=max(3, size // 6))).strip()

    return [Text(text(150), text(1800)) for _ in range(MADE_UP_TEXTS)]


def fill(database: Path, table: str, data_set: DataSet) -> None:
    """Insert the data set into a table that has the columns of `Row`."""
    columns = ", ".join(Row._fields)
    places = ", ".join("?" * len(Row._fields))
    connection = sqlite3.connect(database, isolation_level=None)
    # Builds of this project before 0.3 have an index with it.
    connection.create_function("SHA256", 1, _sha256, deterministic=True)
    try:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-524288")
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO {table} ({columns}) VALUES ({places})",
            map(_stored, data_set.rows()),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def rows_since(database: Path, table: str, time: datetime) -> tuple[int, int]:
    """How many interactions are newer than a time, and how many characters their texts have."""
    connection = sqlite3.connect(database)
    try:
        sql = (
            f"SELECT count(*), total(length(message) + length(response)) FROM {table} "
            "WHERE created_at >= ?"
        )
        count, characters = connection.execute(sql, (_time_text(time),)).fetchone()
        return int(count), int(characters)
    finally:
        connection.close()


def _stored(row: Row) -> tuple[Any, ...]:
    """Times as Django and SQLAlchemy keep them in SQLite: UTC, no offset, microseconds."""
    return (*row[:-2], *map(_time_text, row[-2:]))


def _time_text(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S.%f}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
