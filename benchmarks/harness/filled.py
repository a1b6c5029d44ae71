"""A database of staff's pages: many recent rows, with roll-ups and an index made by the commands.

    python -m harness.filled FOLDER ROWS CHARACTERS [DATA]

makes it; `filled` does so once, in a process of its own.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness.contestants import cache_folder
from harness.data import Text, texts_of
from harness.local import Row, Rows, connect, set_up

DATABASE = "benchmark.sqlite3"
MODELS = ("model-1", "model-2", "model-3", "model-4")
USERS = 500
DAYS = 60
RETENTION_DAYS = 90
OLDEST_SECONDS = 20 * 3600
"""A database that was made longer ago is made again: the pages show the days up to today."""


class Recent(Rows):
    """Rows of the last days up to now, which differ in more than their users."""

    def __init__(self, texts: list[Text], count: int, now: float) -> None:
        super().__init__(texts)
        self._first = now - DAYS * 24 * 3600
        self._apart = DAYS * 24 * 3600 / count

    def row(self, number: int) -> Row:
        """Row `number`."""
        seconds = self._first + number * self._apart
        micros = number % 999_999 + 1  # Django writes no fraction if there is none
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + f".{micros:06}"
        message, response = self._texts[number % len(self._texts)]
        answer = "" if number % 17 == 0 else response
        return (
            new_identifier(seconds, number),
            f"user-{number * 7 % USERS:04}",
            message,
            answer,
            MODELS[number // 40 % len(MODELS)],
            len(message) // 4,
            len(answer) // 4,
            at,
            at,
        )


def new_identifier(seconds: float, number: int) -> str:
    """An id that sorts by time, as UUIDv7 does."""
    text = f"{int(seconds * 1000):012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-{number:012x}"


def cut(texts: list[Text], characters: int | None) -> list[Text]:
    """The beginnings of texts, at most so many characters of each."""
    return [Text(text.message[:characters], text.response[:characters]) for text in texts]


def filled(rows: int, characters: int | None, data: Path | None) -> Path:
    """The database with so many rows, made unless there is a young one."""
    texts = data.stem.split(".")[0] if data else "made-up"
    folder = cache_folder() / f"staff-{rows}-{texts}-{characters or 'whole'}"
    made = folder / "made"
    if made.exists() and time.time() - made.stat().st_mtime < OLDEST_SECONDS:
        return folder / DATABASE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"Making a database of {rows:,} rows ...", file=sys.stderr, flush=True)
    words = [str(folder), str(rows), str(characters or 0), *([str(data)] if data else [])]
    subprocess.run(
        [sys.executable, "-m", "harness.filled", *words],
        cwd=Path(__file__).resolve().parent.parent,
        check=True,
        stdout=sys.stderr,
    )
    made.touch()
    return folder / DATABASE


def main() -> None:
    """Fill without triggers, and have the commands count and index what is there."""
    folder, rows, characters, *data = sys.argv[1:]
    path = Path(folder) / DATABASE
    set_up(path, retention_days=RETENTION_DAYS)
    from django.core.management import call_command

    from storage.sqlite import text_file

    text_file._PRAGMAS += ";PRAGMA synchronous=OFF"  # what is lost is made again
    texts = cut(texts_of(Path(data[0]) if data else None), int(characters) or None)
    connection = connect(path)
    triggers = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
    ).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    Recent(texts, int(rows), time.time()).fill(path, 0, int(rows))
    for _, sql in triggers:
        connection.execute(sql)
    connection.close()
    print(f"filled, {time.process_time():.0f} s of CPU", flush=True)
    for command in ("rebuild_usage", "rebuild_search"):
        call_command(command)
        print(f"{command}, {time.process_time():.0f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
