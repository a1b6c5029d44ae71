"""Runs many conditional writes at the same time, each to another item."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from typing import Any

from storage.compat import batched
from storage.dynamodb import batches
from storage.dynamodb.client import Client, ConditionFailed
from storage.dynamodb.items import Item, key_of
from storage.dynamodb.pauses import Pauses
from storage.models import ChatInteraction

AT_ONCE = 100
"""Items per round, as many as one BatchGetItem reads."""


class Rounds:
    """Runs writes on the threads of an executor and counts the ones that took effect."""

    def __init__(self, client: Client, executor: Executor) -> None:
        self.client = client
        self._executor = executor

    def compared(
        self,
        do: Callable[[ChatInteraction, Item | None], bool],
        interactions: Sequence[ChatInteraction],
    ) -> int:
        """Call `do` with each interaction and its stored item; returns how often it was True."""
        total = 0
        for part in batched(interactions, AT_ONCE):
            ids = [interaction.interaction_id for interaction in part]
            stored = batches.read(self.client, ids, Pauses())
            total += self.sum(do, part, map(stored.get, ids))
        return total

    def delete_ids(
        self,
        interaction_ids: Sequence[str],
        only_if: dict[str, Any],
        deleted: Callable[[Item], None] | None = None,
    ) -> int:
        """Delete the items of these ids for which the condition holds; returns their number.

        `deleted` is called with each item that is gone.
        """
        asked = only_if if deleted is None else only_if | {"ReturnValues": "ALL_OLD"}

        def delete(interaction_id: str) -> bool:
            try:
                answer = self.client.call("DeleteItem", Key=key_of(interaction_id), **asked)
                if deleted is not None and "Attributes" in answer:
                    deleted(answer["Attributes"])
            except ConditionFailed as failure:
                # An earlier attempt, whose answer was lost, may have deleted it.
                return failure.repeated and failure.item is None
            return True

        return self.sum(delete, interaction_ids)

    def sum(self, do: Callable[..., bool], *arguments: Iterable[Any]) -> int:
        """Call `do` with these arguments; returns how often it was True.

        All calls have ended when this returns or raises. Otherwise one could take effect after the
        run has released its lock.
        """
        futures = [self._executor.submit(do, *given) for given in zip(*arguments, strict=True)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
        done = [future for future in futures if not future.cancelled()]
        for failed in filter(Future.exception, done):
            failed.result()
        return sum(future.result() for future in done)
