"""A program: runs management commands, each on a data folder of its own with nothing in it.

    python -m tests.chat.commands_in_forks FOLDER

It reads the commands from standard input, as JSON: `{name: [words, input]}`. Django is set up once,
and each command is a fork of this process. What it has made of DATA_DIR is then FOLDER/<name>/data;
what it has printed is beside that, with its exit status.

Whoever applies migrations does what they come to: the statements that make the same database. That
takes a tenth of the time. `manage.py migrate` itself, which runs first, applies them one by one.
"""

import gc
import json
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.chat.preloaded import import_all
from tests.sqlite import connect

MIGRATE = "migrate"
ROOT = Path(__file__).resolve().parents[2]


def run_in_fork(words: list[str], given: str, place: Path) -> None:
    """Run a command to its end; what it prints and its exit status are left in `place`."""
    (place / "stdin").write_text(given)
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (place / "status").write_text(str(status))
        return
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        file = os.open(place / name, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
    sys.stdin = os.fdopen(0)
    sys.argv = [str(ROOT / "manage.py"), *words]
    from config import commands

    commands.run()
    sys.exit(0)


def made_in(database: Path) -> list[tuple[str, Any]]:
    """The statements that make the same database, with their parameters."""
    with closing(connect(database)) as connection:
        sql = (
            "SELECT type, name, sql FROM sqlite_master WHERE sql > '' AND name NOT GLOB 'sqlite_*'"
        )
        objects = connection.execute(sql).fetchall()
        rows = [
            (f"INSERT INTO {name} VALUES ({', '.join(['%s'] * len(row))})", row)
            for kind, name, _ in objects
            if kind == "table"
            for row in connection.execute(f"SELECT * FROM {name}")
        ]
    tables = [(sql, None) for kind, _, sql in objects if kind != "trigger"]
    triggers = [(sql, None) for kind, _, sql in objects if kind == "trigger"]
    return [*tables, *rows, *triggers]


def migrate_by(statements: list[tuple[str, Any]]) -> None:
    """In all forks from now on, these statements are executed in the place of the migrations."""
    from django.db import connections

    from storage.startup import schema

    def migrate(_name: str, database: str, **_options: Any) -> None:
        with connections[database].cursor() as cursor:
            for statement, parameters in statements:
                cursor.execute(statement, parameters)

    setattr(schema, "call_command", migrate)  # noqa: B010


def main() -> None:
    import manage  # noqa: F401  (every entry point imports `config` first, and so does this one)

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django
    from django.conf import settings

    django.setup()
    import_all()  # once, and not in each fork
    gc.freeze()
    orders: dict[str, Any] = json.load(sys.stdin)
    data, folder = settings.DATA_DIR, Path(sys.argv[1])
    before = folder / "as settings leave it"
    if data.exists():
        data.rename(before)
    for name in sorted(orders, key=lambda name: name != MIGRATE):
        words, given = orders[name]
        place = folder / name
        place.mkdir()
        if before.exists():
            shutil.copytree(before, data)
        run_in_fork(words, given, place)
        if data.exists():
            data.rename(place / "data")
        if name == MIGRATE:
            migrate_by(made_in(place / "data" / "chat.sqlite3"))


if __name__ == "__main__":
    main()
