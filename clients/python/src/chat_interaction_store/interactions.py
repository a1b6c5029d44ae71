"""Interactions, as the store returns them and as it takes them.

No `repr` here has texts or users: whoever logs an interaction logs its id.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal


def new_interaction_id() -> str:
    """Returns a UUIDv7 (RFC 9562): ids that are made later sort after earlier ones."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    bits = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


@dataclass(frozen=True, repr=False)
class Interaction:
    """An interaction, as stored. Times are UTC with microseconds."""

    interaction_id: str
    user_id: str
    message: str
    response: str
    """Empty until the answer is complete."""
    model_used: str
    input_tokens: int
    output_tokens: int
    created_at: datetime
    updated_at: datetime
    archived: bool = False

    def __repr__(self) -> str:
        return f"Interaction(interaction_id={self.interaction_id!r})"

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Interaction:
        """Returns the interaction in a record of the API. Fields that it does not know are passed
        over, so that an older client can read a newer store.
        """
        values = {name: record[name] for name in _STORED}
        values["created_at"] = parsed_time(record["created_at"])
        values["updated_at"] = parsed_time(record["updated_at"])
        return cls(**values, archived=record.get("tier") == "archive")


_STORED = [name.name for name in fields(Interaction) if name.name != "archived"]


@dataclass(frozen=True, kw_only=True, repr=False)
class NewInteraction:
    """An interaction to save. Its id is made here, so that saving it again changes nothing."""

    user_id: str
    message: str
    model_used: str
    response: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    interaction_id: str = field(default_factory=new_interaction_id)

    def __repr__(self) -> str:
        return f"NewInteraction(interaction_id={self.interaction_id!r})"

    def to_json(self) -> bytes:
        """Returns it as the API takes it. Raises TypeError or ValueError for what JSON has not."""
        return encode({name.name: getattr(self, name.name) for name in fields(self)})


@dataclass(frozen=True)
class Saved:
    """What has become of one interaction of `save_many`.

    `unchanged`: it was there already. `conflict`: there is another one with this id, which stays.
    """

    interaction_id: str
    status: Literal["created", "unchanged", "conflict"]


def encode(value: Any) -> bytes:
    """Returns JSON in UTF-8. Raises TypeError or ValueError for what that cannot express."""
    return encoded(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def sound(text: str) -> str:
    """Returns the text. Raises ValueError if UTF-8 cannot express it."""
    encoded(text)
    return text


def encoded(text: str) -> bytes:
    """Returns it in UTF-8. Raises ValueError if that cannot express it."""
    try:
        return text.encode()
    except UnicodeEncodeError:  # which has the whole text
        raise ValueError("A text must not contain lone surrogates (U+D800 to U+DFFF).") from None


def parsed_time(text: str) -> datetime:
    """Returns a time of the API."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
