"""An interaction as JSON: the one format of the API, the cache and exported files.

Times are RFC 3339 in UTC, always with six digits of microseconds. So equal times are equal strings,
and strings sort as the times do.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

import msgspec
import orjson

from storage.models import ChatInteraction
from storage.models.interaction import CONTENT_FIELDS, FIELDS

Record = dict[str, Any]
"""The nine fields in the order of the data model, with times as text."""

_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_DECODER = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Fields",
        [
            (name, int if name.endswith("_tokens") else _Time if name.endswith("_at") else str)
            for name in FIELDS
        ],
        forbid_unknown_fields=True,
    )
)


class _Position(msgspec.Struct):
    created_at: _Time
    interaction_id: str


_POSITION = msgspec.json.Decoder(_Position)


def to_dict(interaction: ChatInteraction) -> dict[str, Any]:
    """Returns the nine fields in the order of the data model, for `dumps`."""
    created_at, updated_at = interaction.created_at, interaction.updated_at
    # orjson formats a UTC time as `format_time` does, ten times as fast. But it omits microseconds
    # that are zero.
    return {
        "interaction_id": interaction.interaction_id,
        "user_id": interaction.user_id,
        "message": interaction.message,
        "response": interaction.response,
        "model_used": interaction.model_used,
        "input_tokens": interaction.input_tokens,
        "output_tokens": interaction.output_tokens,
        "created_at": created_at
        if created_at.microsecond and created_at.tzinfo is UTC
        else format_time(created_at),
        "updated_at": updated_at
        if updated_at.microsecond and updated_at.tzinfo is UTC
        else format_time(updated_at),
    }


def to_record(interaction: ChatInteraction) -> Record:
    """Returns the nine fields with times as text."""
    return to_dict(interaction) | {
        "created_at": format_time(interaction.created_at),
        "updated_at": format_time(interaction.updated_at),
    }


def to_json(interaction: ChatInteraction) -> bytes:
    """Returns the record as JSON in UTF-8, on one line without a line break."""
    return orjson.dumps(to_dict(interaction), option=orjson.OPT_UTC_Z)


def dumps(data: Any) -> bytes:
    """Returns JSON in UTF-8 of data that contains records or results of `to_dict`."""
    return orjson.dumps(data, option=orjson.OPT_UTC_Z)


def from_json(text: bytes | str) -> ChatInteraction:
    """Returns the interaction that `to_json` has written. Raises ValueError for anything else."""
    return ChatInteraction.from_stored(msgspec.structs.asdict(_DECODER.decode(text)))


def position_in(text: bytes) -> tuple[datetime, str]:
    """As `position_of`, in JSON that `to_json` has written. It goes past the texts."""
    found = _POSITION.decode(text)
    return found.created_at, found.interaction_id


def from_record(record: Record) -> ChatInteraction:
    """Returns the interaction in a record. Ignores the tier."""
    values = {name: record[name] for name in CONTENT_FIELDS}
    for name in ("created_at", "updated_at"):
        values[name] = datetime.fromisoformat(record[name])
    return ChatInteraction.from_stored(values)


def position_of(record: Record) -> tuple[datetime, str]:
    """Returns `created_at` and `interaction_id`, by which lists are sorted."""
    return datetime.fromisoformat(record["created_at"]), record["interaction_id"]


class Stored:
    """A stored interaction, as its fields or as JSON. It never changes, so threads may share it."""

    __slots__ = ("_fields", "_json", "created_at", "interaction_id", "user_id")

    def __init__(
        self,
        interaction_id: str,
        user_id: str,
        created_at: datetime,
        *,
        fields: Mapping[str, Any] | None = None,
        json: bytes | None = None,
    ) -> None:
        self.interaction_id = interaction_id
        self.user_id = user_id
        self.created_at = created_at
        self._fields = fields
        self._json = json

    @classmethod
    def of(cls, interaction: ChatInteraction) -> Self:
        """Keeps a copy: what becomes of the interaction does not matter."""
        given = interaction.__dict__
        fields = {name: given[name] for name in FIELDS}
        for name in ("created_at", "updated_at"):
            if fields[name].tzinfo is not UTC:
                fields[name] = fields[name].astimezone(UTC)
        return cls(*(fields[name] for name in _OUTLINE), fields=fields)

    @classmethod
    def from_json(cls, json: bytes) -> Self:
        """Raises ValueError for what `to_json` has not written."""
        fields = from_json(json).__dict__
        return cls(*(fields[name] for name in _OUTLINE), fields=fields, json=json)

    @property
    def least_bytes(self) -> int:
        """How long its JSON is at least, if that is not made yet."""
        if self._json is not None:
            return len(self._json)
        assert self._fields is not None
        return len(self._fields["message"]) + len(self._fields["response"])

    @property
    def interaction(self) -> ChatInteraction:
        """The interaction as an object, a new one each time."""
        if self._fields is not None:
            return ChatInteraction.from_stored({**self._fields})
        assert self._json is not None
        return from_json(self._json)

    @property
    def json(self) -> bytes:
        """The interaction as `to_json` writes it."""
        if self._json is None:
            # A copy: what orjson returns keeps all the room that was reserved for it, several
            # times its size, for as long as the cache keeps it.
            self._json = bytes(memoryview(to_json(self.interaction)))
        return self._json


_OUTLINE = ("interaction_id", "user_id", "created_at")
"""What is looked at without the rest."""


class Archived(Stored):
    """A cold interaction."""

    __slots__ = ()

    @property
    def json(self) -> bytes:
        """The interaction as `to_json` writes it, with the tier after the nine fields."""
        return dumps(archived_record(self.interaction))


def archived_record(interaction: ChatInteraction) -> Record:
    """Returns the record of a cold interaction, including its tier."""
    return to_record(interaction) | {"tier": "archive"}


def format_time(value: datetime) -> str:
    """Returns a time as RFC 3339 in UTC with microseconds: `2026-11-22T09:30:00.000000Z`."""
    in_utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    if in_utc.microsecond:  # orjson omits those that are zero; it takes a quarter of the time
        return orjson.dumps(in_utc, option=orjson.OPT_UTC_Z)[1:-1].decode()
    return in_utc.isoformat(timespec="microseconds")[:-6] + "Z"
