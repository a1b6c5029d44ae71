"""The turns of the same user before and after an interaction, as links."""

from dataclasses import dataclass, field

from django.contrib.admin.utils import quote
from django.urls import reverse

from chat.admin import masking
from chat.admin.rows import preview
from storage import get_storage
from storage.exceptions import StorageError
from storage.models import ChatInteraction


@dataclass(frozen=True)
class Turn:
    """A link to an interaction, with its first words or what stands in their place."""

    url: str
    interaction: ChatInteraction = field(repr=False)
    preview: str = field(repr=False)


@dataclass(frozen=True)
class Turns:
    """The previous and the next turn, None if there is none; `missing` says what is not known."""

    previous: Turn | None
    next: Turn | None
    missing: str = ""


def turns(interaction: ChatInteraction, *, may_see: bool) -> Turns:
    """The turns around an interaction."""
    try:
        found = get_storage().neighbours_sync(interaction)
    except StorageError:
        return Turns(None, None, "The store did not answer for this user's other turns.")
    missing = "" if found.is_next_known else "There are too many turns close by to tell the next."
    return Turns(_turn(found.previous, may_see), _turn(found.next, may_see), missing)


def _turn(interaction: ChatInteraction | None, may_see: bool) -> Turn | None:
    if interaction is None:
        return None
    url = reverse("admin:storage_chatinteraction_change", args=[quote(interaction.interaction_id)])
    words = preview(interaction.message) if may_see else masking.hidden(interaction.message)
    return Turn(url, interaction, words)
