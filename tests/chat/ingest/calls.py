"""Calls of models, as translators make them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from chat.ingest.calls import ModelCall

START = datetime(2026, 11, 2, 9, 30, 0, 123456, UTC)


def model_call(call_id: str = "c1", seconds: float = 0, **fields: Any) -> ModelCall:
    """A sound call that began some seconds after START; every field can be given."""
    start = START + timedelta(seconds=seconds)
    defaults: dict[str, Any] = {
        "user_id": "ada",
        "message": "What is a B-tree?",
        "response": "A balanced tree for disks.",
        "model": "model-1",
        "started_at": start,
        "ended_at": start + timedelta(seconds=1),
        "input_tokens": 111,
        "output_tokens": 22,
    }
    return ModelCall(call_id, **(defaults | fields))
