"""Looks at what a power loss has left, through the application, as it starts again.

    python -m tests.system.power.checking

It says when it has started. Each line of standard input has facts, of what is in DATA_DIR at that
moment. Each line of standard output has what is wrong: a list. Every look is by a fork of its own.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import django

import config  # noqa: F401  (before Django: it puts pysqlite3 in the place of sqlite3)

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from storage import get_storage  # noqa: E402
from storage.archive.archive import configured_archive  # noqa: E402, F401  (before the forks)
from storage.backups.selection import sql_backups  # noqa: E402
from storage.models import ChatInteraction  # noqa: E402
from storage.models.idempotency import Idempotency  # noqa: E402
from tests.sqlite import connect  # noqa: E402


def problems(facts: dict[str, Any]) -> Iterator[str]:
    """What is not as it was promised."""
    with contextlib.closing(connect(settings.DATABASES["default"]["NAME"])) as database:
        for (said,) in database.execute("PRAGMA integrity_check"):
            if said != "ok":
                yield f"database: {said}"
    yield from _rows(facts)
    if facts["backups"]:
        missing = set(facts["backups"]) - {copy.name for copy in sql_backups().copies()}
        yield from (f"backup {name} is gone" for name in sorted(missing))
        yield from _ended("verify_backup", "--all")
    if (settings.DATA_DIR / "archive").is_dir():
        yield from _ended("verify_archive", "--stubs")
    yield from _keys(facts)


def _rows(facts: dict[str, Any]) -> Iterator[str]:
    storage = get_storage()
    for row_id, allowed in facts["rows"].items():
        found = storage.get_interaction_sync(row_id)
        if (found and found.response) not in allowed:
            what = "gone" if found is None else "an other version"
            yield f"row {row_id} is {what}, may have {len(allowed)}"


def _keys(facts: dict[str, Any]) -> Iterator[str]:
    """A key is there if its row is: a repeat saves no second one."""
    storage = get_storage()
    for key, row_id in facts["keys"].items():
        kept = storage.get_interaction_sync(row_id)
        if kept is None and None in facts["rows"].get(row_id, []):
            continue  # deleted, or never saved
        user_id = kept.user_id if kept else "user"  # a key of another's row gives nothing
        again = ChatInteraction(user_id=user_id, message="m", response="r", model_used="m")
        found, is_new = storage.create_interaction_sync(again, Idempotency(key=key, request=""))
        if is_new or found.interaction_id != row_id:
            yield f"row {row_id} is there and its key is not"


def _ended(*words: str) -> Iterator[str]:
    errors = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            call_command(*words)
    except (Exception, SystemExit) as error:
        yield f"{words[0]}: {error!r} {errors.getvalue()}"


def _looked(facts: dict[str, Any]) -> list[str]:
    try:
        return list(problems(facts))
    except Exception:
        return [traceback.format_exc()]


def main() -> None:
    connection.close()
    print("ready", flush=True)
    for line in sys.stdin:
        found = _found_by_fork(json.loads(line))
        os.wait()  # its threads, which may write, have ended before the disk is removed
        print(found, flush=True)


def _found_by_fork(facts: dict[str, Any]) -> str:
    reading, writing = os.pipe()
    if not os.fork():
        with os.fdopen(writing, "w") as said:
            json.dump(_looked(facts), said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        return said.read()


if __name__ == "__main__":
    main()
