"""Telling what a write has done, its own or another's.

# Note [A write whose answer was lost]

DynamoDB may have done what a request asked although its answer never arrived, and the
request is then sent again. So each write carries a random `version` and a condition that
its own effect makes false: a repeat changes nothing, and the item which a failed
condition brings back tells whose write it is: by `saved_as`, which an update leaves as it
is, to a save or a creation; by `version` to an update.

If another writer comes between the two attempts, an update and a deletion, which name the
version that they are about, do nothing to what that one has made. A save replaces another
save: of two at the same time the later attempt stays. A creation whose row was deleted
between makes it again, as its client would by repeating the request.
"""

from collections.abc import Mapping
from typing import TypeGuard

from storage.dynamodb import items
from storage.dynamodb.items import Item
from storage.exceptions import InteractionConflict, StorageUnavailable
from storage.models import ChatInteraction
from storage.records.outcomes import Outcome
from storage.records.stubs import Stub, TakenByStub


def is_own(stored: Item | None, item: Item) -> bool:
    """Whether what is stored is what this save or creation of `item` has made."""
    return stored is not None and stored.get("saved_as") == item["saved_as"]


def is_older_self(stored: Item | None, item: Item) -> TypeGuard[Item]:
    """Whether `item` is to replace what is stored, which was created at another time."""
    return (
        stored is not None
        and not items.has_expired(stored)
        and stored.get("user_id") == item["user_id"]
        and stored["created_at"] != item["created_at"]
    )


def same(interaction: ChatInteraction, stored: Item) -> ChatInteraction:
    """What is stored, if it says the same as `interaction`; else raises InteractionConflict.

    Raises TakenByStub if it is cold.
    """
    if stub := items.to_stub(stored):
        raise TakenByStub(stub)
    found = items.to_interaction(stored)
    if not found.same_content(interaction):
        raise InteractionConflict(interaction.interaction_id)
    return found


def outcome(
    interaction: ChatInteraction, stored: Mapping[str, Item], created: set[str]
) -> Outcome | Stub:
    """What became of an interaction. The first of an id counts as created, and only the first."""
    interaction_id = interaction.interaction_id
    if interaction_id in created:
        created.remove(interaction_id)
        return Outcome.CREATED
    if stub := items.to_stub(stored[interaction_id]):
        return stub
    same = items.to_interaction(stored[interaction_id]).same_content(interaction)
    return Outcome.UNCHANGED if same else Outcome.CONFLICT


def contended() -> StorageUnavailable:
    """Others have come between again and again."""
    return StorageUnavailable("The interaction is being changed by others; try again.")


def unknown() -> StorageUnavailable:
    """It has been done perhaps, and the item changed again by another: once more would be twice."""
    return StorageUnavailable("An answer of DynamoDB was lost; try again.")
