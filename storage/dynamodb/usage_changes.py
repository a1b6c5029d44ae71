"""What changes of the table's items mean for the roll-ups of usage.

What there ever was (`interactions`, `unanswered`, tokens) grows by creations and is corrected by
updates; tier transitions, deletions and expiry leave it as it is. `hot` and `cold` follow what is
stored.
"""

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from storage.dynamodb import items, stream
from storage.dynamodb.items import Item
from storage.dynamodb.texts import unpack_texts
from storage.exceptions import DamagedItem

RESERVED = "\x1f"
"""Begins the keys of items that are no interactions: locks, idempotency keys, generations."""

Sums = list[int]
"""Interactions, unanswered ones, input tokens, output tokens; of models also hot and cold ones."""

IsForgotten = Callable[[str, str, datetime], bool]
"""Whether a user was erased after this `created_at`, or after the change at that time."""


@dataclass(frozen=True)
class Counted:
    """What an item counts as. A stub of an earlier version does not know its model (None)."""

    created_at: str
    model_used: str | None
    user_id: str | None
    """None for a stub."""
    used: tuple[int, ...]
    """What it adds to what there ever was."""

    @property
    def day(self) -> str:
        """The day of its creation (UTC), such as 2026-11-22."""
        return self.created_at[:10]


def counted(item: Item | None) -> Counted | None:
    """Returns what an item counts as, or None if it is no interaction and no stub."""
    if item is None or item["interaction_id"]["S"].startswith(RESERVED):
        return None
    if not {"archived_in", "user_id"} & item.keys():
        return None
    is_cold = "archived_in" in item
    return Counted(
        created_at=items.created_at(item),
        model_used=items.model_of(item),
        user_id=None if is_cold else item["user_id"]["S"],
        used=(0, 0, 0, 0) if is_cold else _used(item),
    )


def _used(item: Item) -> tuple[int, ...]:
    inputs, outputs = item.get("i") or item["input_tokens"], item.get("o") or item["output_tokens"]
    return 1, int(_is_unanswered(item)), int(inputs["N"]), int(outputs["N"])


def _is_unanswered(item: Item) -> bool:
    with suppress(DamagedItem):  # which must not end the counting of others
        return not unpack_texts(item)[1]
    return False


class Totals:
    """The sum of some changes, by day and model, and by day, user and model."""

    def __init__(self, is_forgotten: IsForgotten = lambda *_: False) -> None:
        self._is_forgotten = is_forgotten
        self.of_models: dict[tuple[str, str], Sums] = defaultdict(lambda: [0] * 6)
        self.of_users: dict[tuple[str, str, str], Sums] = defaultdict(lambda: [0] * 4)

    def add(self, record: stream.Record) -> None:
        """Add a change."""
        change: dict[str, Any] = record["dynamodb"]
        old, new = counted(change.get("OldImage")), counted(change.get("NewImage"))
        if old and new and old.created_at == new.created_at:
            # Whichever does not know the model, as a stub of an earlier version, has the other's.
            old = old if old.model_used is not None else replace(old, model_used=new.model_used)
            new = new if new.model_used is not None else replace(new, model_used=old.model_used)
        elif new and new.user_id is not None:  # else a stub was adopted: created long ago
            self._use(new, 1, record)
        if old and new and old.user_id and new.user_id and old.created_at == new.created_at:
            self._use(old, -1, record)
            self._use(new, 1, record)
        self._store(old, -1)
        self._store(new, 1)

    def _use(self, item: Counted, sign: int, record: stream.Record) -> None:
        assert item.user_id is not None
        assert item.model_used is not None
        of_model = self.of_models[item.day, item.model_used]
        keys = [of_model]
        if not self._is_forgotten(item.user_id, item.created_at, stream.time_of(record)):
            keys.append(self.of_users[item.day, item.user_id, item.model_used])
        for sums in keys:
            for number, value in enumerate(item.used):
                sums[number] += sign * value

    def _store(self, item: Counted | None, sign: int) -> None:
        if item is not None and item.model_used is not None:
            tier = 4 if item.user_id is not None else 5
            self.of_models[item.day, item.model_used][tier] += sign
