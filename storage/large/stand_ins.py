"""What stands in a row for texts that lie in an object.

# Note [Stand-ins]

In the row, the SHA-256 of a text stands in for a text that lies in the object, so it is not empty
where the text is not. Two rows have the same text if they have the same stand-in: nothing is
fetched to compare them, and an answer is found by it. A message of up to INLINE_MAX_BYTES stays in
the row. Databases keep stand-ins as text (`encoded`), and the reference says which they are; in
Python they are bytes, which no text equals.

An interaction with stand-ins has the attribute OBJECT, and so has a record. Neither leaves a
database, but for what needs no large texts: maintenance, and pages of staff (`Slice.texts_of`).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from storage.limits import text_bytes
from storage.models import ChatInteraction
from storage.models.interaction import CONTENT_FIELDS
from storage.records import texts
from storage.records.json import Record, from_record
from storage.records.texts import OBJECT

WHOLE_MESSAGE = "whole_message"
"""The attribute of an interaction with stand-ins that was whole: its message."""

Kept = tuple[str, str, str]
"""The ids of a user and of an interaction, and the reference in its row (`TextObject.dumps`)."""


def in_object(message: str, response: str) -> tuple[str, str] | None:
    """The texts that lie in an object, "" for one that stays in the row. None if both stay."""
    if 4 * (len(message) + len(response)) <= texts.INLINE_MAX_BYTES:
        return None  # fast path: nearly every row
    if text_bytes(message, response) <= texts.INLINE_MAX_BYTES:
        return None
    if text_bytes(message, "") <= texts.INLINE_MAX_BYTES:
        return "", response
    return message, response if text_bytes("", response) > texts.INLINE_MAX_BYTES else ""


def wants_object(interaction: ChatInteraction) -> bool:
    """Whether texts of the interaction lie in an object, or would."""
    row = interaction.__dict__  # past the descriptors of Django's fields
    return bool(row.get(OBJECT)) or in_object(row["message"], row["response"]) is not None


def stand_in(text: str) -> bytes:
    """What stands in the row for a text."""
    return hashlib.sha256(text.encode()).digest()


def encoded(text: str | bytes) -> str:
    """A text, or what stands in for it, as a database has it."""
    return f"sha256:{text.hex()}" if isinstance(text, bytes) else text


def decode(row: dict[str, Any]) -> None:
    """Put stand-ins in the place of what is encoded in a row that has a reference."""
    for name in row[OBJECT].rpartition(" ")[2].split("+"):
        row[name] = bytes.fromhex(row[name].removeprefix("sha256:"))


def is_unwritten(reference: str | None) -> bool:
    """Whether this is the reference to an object that is not written yet."""
    return reference is not None and reference.startswith(" ")


def same_text(first: str | bytes, second: str | bytes) -> bool:
    """Whether both are the same text, or stand for it."""
    if isinstance(first, bytes) == isinstance(second, bytes):
        return first == second
    text, kept = (second, first) if isinstance(first, bytes) else (first, second)
    return stand_in(text) == kept  # type: ignore[arg-type]


def same_record(first: Record, second: Record) -> bool:
    """Whether all fields of both are the same, with or without stand-ins."""
    times = ("created_at", "updated_at")
    return same_content(first, second) and all(first[name] == second[name] for name in times)


def same_content(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """As `ChatInteraction.same_content`, for fields by name, with or without stand-ins."""
    return all(
        same_text(first[name], second[name])
        if name in ("message", "response")
        else first[name] == second[name]
        for name in CONTENT_FIELDS
    )


def standing_in(
    interaction: ChatInteraction, *, message: bool, response: bool, reference: str
) -> ChatInteraction:
    """A copy of the interaction with stand-ins for these texts, and a reference to their object.

    The reference is empty for an object that is not written yet.
    """
    names = "+".join(["message"] * message + ["response"] * response)
    values = {**interaction.__dict__, OBJECT: f"{reference} {names}"}
    if message:
        values |= {"message": stand_in(interaction.message), WHOLE_MESSAGE: interaction.message}
    if response:
        values["response"] = stand_in(interaction.response)
    return ChatInteraction.from_stored(values)


def as_in(reference: str, interaction: ChatInteraction) -> ChatInteraction:
    """A copy of the interaction with stand-ins for the texts for which a row has them."""
    kept, _, names = reference.rpartition(" ")
    return standing_in(
        interaction, message="message" in names, response="response" in names, reference=kept
    )


def interaction_of(record: Record) -> ChatInteraction:
    """As `from_record`, for a record that may have stand-ins."""
    interaction = from_record(record)
    if OBJECT in record:
        interaction.__dict__[OBJECT] = record[OBJECT]
    return interaction


def reference_of(interaction: ChatInteraction) -> str | None:
    """The reference in a row; None if it has its texts."""
    reference: str | None = interaction.__dict__.get(OBJECT)
    return reference
