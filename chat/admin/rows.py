"""Interactions as rows of a list."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse

from chat.admin import masking
from storage.models import ChatInteraction
from storage.records.json import Record, from_record

PREVIEW_LENGTH = 140

LONG = "A long text, over 128 KB: open the interaction to read it."
"""In place of a message that does not lie in the row. A list does not fetch it."""

_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that nobody sees, and that turn the writing around."""


@dataclass(frozen=True)
class Row:
    """An interaction as the list shows it. `preview` is None if the text is hidden."""

    url: str
    created: str
    iso: str
    user_id: str = field(repr=False)
    user_url: str = field(repr=False)
    preview: str | None = field(repr=False)
    hidden: str
    model_used: str
    input_tokens: str
    output_tokens: str
    is_archived: bool
    is_answered: bool


def rows(request: HttpRequest, records: list[Record]) -> list[Row]:
    """A row for each record. Texts are hidden unless whoever asks may see them."""
    list_url = reverse("admin:storage_chatinteraction_changelist")
    seen: dict[str, bool] = {}
    for record in records:
        user_id = record["user_id"]
        if user_id not in seen:
            seen[user_id] = masking.may_see(request, user_id)
    return [
        _row(from_record(record), seen[record["user_id"]], list_url, _is_archived(record))
        for record in records
    ]


def _row(interaction: ChatInteraction, is_seen: bool, list_url: str, is_archived: bool) -> Row:
    created = interaction.created_at
    return Row(
        url=f"{list_url}{quote(interaction.interaction_id)}/change/",
        created=f"{created:%Y-%m-%d\N{NO-BREAK SPACE}%H:%M}",
        iso=created.isoformat(),
        user_id=visible(interaction.user_id),
        user_url="?" + urlencode({"user_id": interaction.user_id}),
        preview=preview(interaction.message) if is_seen else None,
        hidden=masking.hidden(interaction.message),
        model_used=visible(interaction.model_used),
        input_tokens=f"{interaction.input_tokens:,}",
        output_tokens=f"{interaction.output_tokens:,}",
        is_archived=is_archived,
        is_answered=interaction.response != "",
    )


def preview(text: str | bytes) -> str:
    """The start of a text, in one line; of a large one that is not here (bytes), that it is."""
    if isinstance(text, bytes):
        return LONG
    start = _SPACES.sub(" ", text[: PREVIEW_LENGTH + 1]).strip()
    return start if len(text) <= PREVIEW_LENGTH else f"{start[:PREVIEW_LENGTH]}…"


def visible(identifier: str) -> str:
    """An id with the characters that turn the writing around as their numbers, as [U+202E].

    Otherwise one id could look like another.
    """
    return _DIRECTIONS.sub(lambda found: f"[U+{ord(found[0]):04X}]", identifier)


def _is_archived(record: Record) -> bool:
    return record.get("tier") == "archive"
