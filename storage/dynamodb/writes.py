"""Finds out what a write has done when its answer was lost.

DynamoDB may complete a request although its answer never arrives, and the request is then sent
again. So every write has a random `version`, and a condition that is false once the write has taken
effect. A repeated write then changes nothing, and the failed condition returns the stored item. The
write compares it with its own: a save or creation by `saved_as`, which updates do not change, an
update by `version`.

Another writer may come between the two attempts. Updates and deletions name the version that they
expect, so they do not touch what the other has written. Of two saves at the same time, the later
attempt wins. A creation whose row was deleted in between creates it again, as its client would by
repeating the request.
"""

from collections.abc import Mapping
from typing import TypeGuard

from storage.dynamodb import items
from storage.dynamodb.client import TransactionCanceled
from storage.dynamodb.items import Item
from storage.exceptions import InteractionConflict, StorageUnavailable
from storage.large.stand_ins import same_content
from storage.models import ChatInteraction
from storage.records.outcomes import Outcome
from storage.records.stubs import Stub, TakenByStub

OF_OTHERS = {"ConditionalCheckFailed", "TransactionConflict"}
"""Reasons for which a transaction is cancelled when others write, too."""


def is_own(stored: Item | None, item: Item) -> bool:
    """Whether the stored item was written by this save or creation of `item`."""
    return stored is not None and stored.get("s") == item["s"]


def is_older_self(stored: Item | None, item: Item) -> TypeGuard[Item]:
    """Whether the stored item is one that `item` replaces, created at another time."""
    return (
        stored is not None
        and not items.has_expired(stored)
        and stored.get("user_id") == item["user_id"]
        and stored["position"] != item["position"]
    )


def same(interaction: ChatInteraction, stored: Item) -> ChatInteraction:
    """Returns the stored interaction if it has the same content as `interaction`.

    Otherwise raises InteractionConflict, or TakenByStub if the stored one is cold.
    """
    if stub := items.to_stub(stored):
        raise TakenByStub(stub)
    found = items.to_interaction(stored)
    if not same_content(found.__dict__, interaction.__dict__):
        raise InteractionConflict(interaction.interaction_id)
    return found


def outcome(
    interaction: ChatInteraction, stored: Mapping[str, Item], created: set[str]
) -> Outcome | Stub:
    """Returns the outcome for an interaction. If an id comes twice, only its first was created."""
    interaction_id = interaction.interaction_id
    if interaction_id in created:
        created.remove(interaction_id)
        return Outcome.CREATED
    if stub := items.to_stub(stored[interaction_id]):
        return stub
    found = items.to_interaction(stored[interaction_id])
    same = same_content(found.__dict__, interaction.__dict__)
    return Outcome.UNCHANGED if same else Outcome.CONFLICT


def contended() -> StorageUnavailable:
    """Returns the error for a write that others overtook again and again."""
    return StorageUnavailable("The interaction is being changed by others; try again.")


def given_up(canceled: TransactionCanceled) -> StorageUnavailable:
    """Returns the error for a transaction that was cancelled again and again."""
    if not canceled.codes or canceled.codes & OF_OTHERS:
        return contended()
    codes = ", ".join(sorted(canceled.codes))
    return StorageUnavailable(f"DynamoDB did not complete TransactWriteItems: {codes}.")


def unknown() -> StorageUnavailable:
    """Returns the error for a write that may have happened before another changed the item."""
    return StorageUnavailable("An answer of DynamoDB was lost; try again.")
