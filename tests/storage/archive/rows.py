"""Rows for the tests of the archive, and what they are compared by."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from storage.models import ChatInteraction
from storage.models.interaction import FIELDS

DAY = date(2026, 10, 23)
START = datetime(2026, 10, 23, tzinfo=UTC)

ODD_TEXTS = [
    "",
    "\u2028 \u2029 \x85 \x0b \x0c \x1c \r\n \n",  # what str.splitlines takes for ends of lines
    '"\\/\b\f\t',
    "\U0001d518\U0001d52b \U0001f469\u200d\U0001f467 e\u0301 \ufeff \uffff \U0010ffff",
    "\x01\x1f\x7f",
]


def row(number: int, **fields: Any) -> Any:
    """The row of second `number` of the day."""
    defaults = {
        "interaction_id": f"i{number:06}",
        "user_id": f"user {number % 7}",
        "message": f"What is {number}?",
        "response": f"It is {number}.",
        "model_used": "model-1",
        "input_tokens": number,
        "output_tokens": 2**53 - 1,
        "created_at": START + timedelta(seconds=number),
        "updated_at": START + timedelta(days=1, microseconds=number),
    }
    return ChatInteraction(**(defaults | fields))


def large_row(number: int, size: int = 20_000) -> Any:
    """A row whose text zstd cannot shorten below half."""
    return row(number, response=random.Random(number).randbytes(size // 2).hex())


def fields(rows: Any) -> list[Any]:
    """All fields: `==` between interactions compares nothing but their ids."""
    return [[getattr(each, name) for name in FIELDS] for each in rows]


def position(each: Any) -> tuple[Any, ...]:
    return each.created_at, each.interaction_id
