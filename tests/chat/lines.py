"""Interactions as lines of JSON, and commands that read and write them."""

import json
import sqlite3
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command

from storage.models import ChatInteraction


def record(number: int = 0, **fields: Any) -> Any:
    """One interaction as a file has it; each number is a second."""
    created_at = datetime(2026, 3, 1, microsecond=1) + timedelta(seconds=number)
    return {
        "interaction_id": f"i{number:06}",
        "user_id": "ada",
        "message": f"Question {number}",
        "response": f"Answer {number}",
        "model_used": "model-1",
        "input_tokens": 5,
        "output_tokens": 7,
        "created_at": f"{created_at.isoformat()}Z",
        "updated_at": "2026-03-02T00:00:00.000000Z",
    } | fields


def line(number: int = 0, **fields: Any) -> bytes:
    return json.dumps(record(number, **fields), ensure_ascii=False).encode() + b"\n"


def lines(count: int, start: int = 0) -> bytes:
    return b"".join(line(number) for number in range(start, start + count))


def command(*arguments: Any) -> tuple[Any, ...]:
    """Run a command in this process; gives its exit status, and what it says.

    A status is what the shell would get: see the tests that run commands as processes.
    """
    said, errors = StringIO(), StringIO()
    try:
        call_command(*map(str, arguments), stdout=said, stderr=errors)
    except CommandError as error:
        return error.returncode, said.getvalue(), f"{errors.getvalue()}{error}\n"
    except SystemExit as end:
        return end.code, said.getvalue(), errors.getvalue()
    return 0, said.getvalue(), errors.getvalue()


def summary(created: int = 0, unchanged: int = 0, conflict: int = 0, bad: int = 0) -> str:
    """What an import says at its end."""
    return f"{created} created, {unchanged} unchanged, {conflict} in conflict, {bad} bad lines.\n"


def stored(folder: Path | str) -> Any:
    """How many interactions are in the database of a folder, seen from outside."""
    with sqlite3.connect(f"file:{folder}/data.sqlite3?mode=ro", uri=True, timeout=20) as reader:
        query = f"SELECT count(*) FROM {ChatInteraction._meta.db_table}"
        (count,) = reader.execute(query).fetchone()
    reader.close()
    return count
