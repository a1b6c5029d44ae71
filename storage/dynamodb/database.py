"""CloudStorage: interactions in DynamoDB, with Redis as cache."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache

from storage import limits
from storage.archive.archive import Archive
from storage.cache.audit import Audit, audit_cache
from storage.cache.guarded import GuardedCache, Guards
from storage.cache.interactions import InteractionCache, Writing
from storage.cache.reliable_cells import cells_of
from storage.dynamodb import answers, batches, expressions, idempotency_keys, items, lists, writes
from storage.dynamodb.client import Client, ConditionFailed, TransactionCanceled
from storage.dynamodb.cold import CloudTiers, key_of
from storage.dynamodb.expressions import condition
from storage.dynamodb.items import Item
from storage.dynamodb.pauses import Pauses
from storage.exceptions import (
    BatchUnfinished,
    InteractionArchived,
    InteractionConflict,
    InvalidInteraction,
    StorageUnavailable,
)
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.records.json import Record, Stored
from storage.records.outcomes import Outcome
from storage.records.pages import Slice
from storage.records.questions import Question
from storage.records.stubs import Stub, TakenByStub


class CloudStorage(CloudTiers):
    """Keeps interactions in the DynamoDB table of `client`, and strings in `cache`."""

    def __init__(self, client: Client, cache: BaseCache, threads: int, archive: Archive) -> None:
        super().__init__(client, threads, archive)
        self._django_cache = cache
        guards = Guards(cache)
        self._cache = GuardedCache(cache, guards)
        self._interactions = InteractionCache(cells_of(cache, guards), settings.CACHE_TTL)

    def cache_get_sync(self, key: str) -> str | None:
        return self._cache.get(key)

    def cache_set_sync(self, key: str, value: str, ttl: int) -> None:
        self._cache.set(key, value, ttl)

    def _save(self, interaction: ChatInteraction) -> None:
        with self._interactions.writing(interaction.interaction_id, interaction) as writing:
            self._upsert(interaction)
            writing.committed(interaction)

    def _upsert(self, interaction: ChatInteraction, attempts: int = 3) -> None:
        item = items.to_item(interaction, items.new_version())
        changes = {name: value for name, value in item.items() if name != "interaction_id"}
        only_if = condition(expressions.REPLACEABLE, user_id=interaction.user_id)
        if "answer" in item:
            created_at = item["created_at"]["S"]
            only_if = condition(
                expressions.REPLACEABLE_IN_PLACE,
                user_id=interaction.user_id,
                created_at=created_at,
            )
        try:
            answer = self._client.call(
                "UpdateItem",
                Key=key_of(interaction.interaction_id),
                ReturnValues="ALL_OLD",
                **expressions.update(changes, only_if),
            )
            replaced = answer.get("Attributes")
        except ConditionFailed as failure:
            replaced = failure.item if writes.is_own(failure.item, item) else None
            if replaced is None and writes.is_older_self(failure.item, item) and attempts > 1:
                interaction.created_at = items.to_interaction(failure.item).created_at
                return self._upsert(interaction, attempts - 1)
            if replaced is None and not self._replaced_expired(item, failure):
                if attempts == 1:
                    raise writes.contended() from failure
                return self._upsert(interaction, attempts - 1)
        interaction.created_at = items.to_interaction(replaced or item).created_at

    def _replaced_expired(self, item: Item, failure: ConditionFailed) -> bool:
        """Whether `item` could be put in the place of one that has expired."""
        if failure.item is not None and not items.has_expired(failure.item):
            kind = InteractionArchived if items.to_stub(failure.item) else InteractionConflict
            raise kind(item["interaction_id"]["S"])
        return self._put_or_find(item)[1]

    def _get(self, interaction_id: str) -> Stored | None:
        return self._interactions.get(interaction_id, self._read)

    def _read(self, interaction_id: str) -> ChatInteraction | None:
        item = self._hot_item(interaction_id)
        return None if item is None else items.to_interaction(item)

    def _hot_item(self, interaction_id: str) -> Item | None:
        """The item as it is at this moment, unless it has expired or is a stub."""
        item = self._item(interaction_id)
        return None if item is None or items.has_expired(item) or items.to_stub(item) else item

    def _answer(self, question: Question) -> Stored | None:
        return self._interactions.answer(question, self._find, self._read)

    def _find(self, question: Question) -> ChatInteraction | None:
        """The newest answer of which the index knows and that is one still."""
        for entry in answers.entries(self._client, question, Pauses()):
            found = self._get(entry.interaction_id)
            if found is not None and question.is_answered_by(found.interaction):
                return found.interaction
        return None

    def _create(
        self, interaction: ChatInteraction, idempotency: Idempotency | None
    ) -> tuple[ChatInteraction | None, bool]:
        item = items.to_item(interaction, items.new_version())
        stored: ChatInteraction | None
        with self._interactions.writing(interaction.interaction_id, interaction) as writing:
            if idempotency is None:
                found, created = self._put_or_find(item)
                stored = interaction if created else writes.same(interaction, found)
            else:
                stored, created = self._create_once(interaction, item, idempotency)
            if created:
                writing.committed(interaction)
        return stored, created

    def _create_once(
        self, interaction: ChatInteraction, item: Item, idempotency: Idempotency
    ) -> tuple[ChatInteraction | None, bool]:
        pauses = Pauses()
        while True:
            try:
                idempotency_keys.create(self._client, item, idempotency)
                return interaction, True
            except TransactionCanceled:
                made = idempotency_keys.find(self._client, idempotency)
            if made is not None:
                stored = self._item(made)
                if stored is None or items.has_expired(stored):
                    return None, False
                if stub := items.to_stub(stored):
                    raise TakenByStub(stub, replayed=True)
                return items.to_interaction(stored), writes.is_own(stored, item)
            existing = self._item(interaction.interaction_id)
            if existing is not None and not items.has_expired(existing):
                found = writes.same(interaction, existing)
                try:
                    idempotency_keys.remember(self._client, found, idempotency)
                    return found, False
                except ConditionFailed:
                    pass  # the key was used just now
            if not pauses.wait():
                raise writes.contended()

    def _create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        with self._interactions.creating(interactions):
            return self._insert_many(interactions)

    def _insert_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        stored: dict[str, Item] = {}
        for interaction in interactions:
            item = items.to_item(interaction, items.new_version())
            stored.setdefault(interaction.interaction_id, item)
        pauses = Pauses()
        taken = batches.insert(self._client, list(stored.values()), pauses)
        created = stored.keys() - taken
        unsettled = set(taken)
        try:
            for interaction_id, found in self._find_or_put(stored, taken, pauses):
                if writes.is_own(found, stored[interaction_id]):
                    created.add(interaction_id)
                stored[interaction_id] = found
                unsettled.remove(interaction_id)
        except StorageUnavailable as error:
            raise BatchUnfinished(sorted(unsettled)) from error
        return [writes.outcome(interaction, stored, created) for interaction in interactions]

    def _find_or_put(
        self, new: Mapping[str, Item], taken: set[str], pauses: Pauses
    ) -> Iterator[tuple[str, Item]]:
        """What is stored under the ids that were taken, which may have become free since."""
        found = batches.read(self._client, list(taken), pauses)
        for interaction_id in taken:
            item = found.get(interaction_id)
            if item is None or items.has_expired(item):
                if pauses.over():
                    raise StorageUnavailable("DynamoDB was too slow for the whole batch.")
                item, _ = self._put_or_find(new[interaction_id])
            yield interaction_id, item

    def _update(
        self, interaction_id: str, changes: Mapping[str, Any], user_id: str | None
    ) -> ChatInteraction | None:
        with self._interactions.writing(interaction_id) as writing:
            updated = self._change(interaction_id, changes, user_id, writing)
            if updated is not None:
                writing.committed(updated)
        return updated

    def _change(
        self,
        interaction_id: str,
        changes: Mapping[str, Any],
        user_id: str | None,
        writing: Writing,
    ) -> ChatInteraction | None:
        pauses = Pauses()
        while True:
            item = self._hot_item(interaction_id)
            if item is None:
                return None
            interaction = items.to_interaction(item)
            if user_id not in (None, interaction.user_id):
                return None
            if self._complete(interaction, changes, item["version"]["S"], writing):
                return interaction
            if not pauses.wait():
                raise writes.contended()

    def _complete(
        self,
        interaction: ChatInteraction,
        changes: Mapping[str, Any],
        expected: str,
        writing: Writing,
    ) -> bool:
        """Whether the changes were made; not if the item has another version than expected."""
        for name, value in changes.items():
            setattr(interaction, name, value)
        if problems := limits.violations(interaction):
            raise InvalidInteraction(problems)
        interaction.updated_at = datetime.now(UTC)
        writing.will_commit(interaction)
        completion = items.to_completion(interaction, items.new_version())
        only_if = condition(expressions.SAME_VERSION, expected=expected)
        try:
            self._client.call(
                "UpdateItem",
                Key=key_of(interaction.interaction_id),
                **expressions.update(completion, only_if),
            )
        except ConditionFailed as failure:
            if failure.item is not None and failure.item["version"] == completion["version"]:
                return True
            if failure.repeated:
                raise writes.unknown() from failure
            return False
        return True

    def _delete(self, interaction_id: str, user_id: str | None) -> bool:
        with self._interactions.writing(interaction_id):
            pauses = Pauses()
            while True:
                item = self._hot_item(interaction_id)
                if item is None:
                    return False
                if user_id not in (None, item["user_id"]["S"]):
                    return False
                if self._remove(interaction_id, item["version"]["S"]):
                    return True
                if not pauses.wait():
                    raise writes.contended()

    def _remove(self, interaction_id: str, expected: str) -> bool:
        """Whether it was deleted; not if the item has another version than expected."""
        only_if = condition(expressions.SAME_VERSION, expected=expected)
        try:
            self._client.call("DeleteItem", Key=key_of(interaction_id), **only_if)
        except ConditionFailed as failure:
            if not failure.repeated:
                return False
            if failure.item is None:
                return True  # an attempt whose answer was lost has deleted it
            raise writes.unknown() from failure
        return True

    def _newest(self, wanted: Slice) -> tuple[list[Record], bool]:
        pauses = Pauses()
        entries = lists.entries(self._client, wanted, pauses)
        found: list[Record] = []
        while len(found) <= wanted.limit:
            some = list(islice(entries, wanted.limit + 1 - len(found)))
            if not some:
                break
            found += self._records_of(some, wanted.user_id, pauses)
        return found[: wanted.limit], len(found) > wanted.limit

    def _records_of(
        self, entries: Sequence[lists.Entry], user_id: str | None, pauses: Pauses
    ) -> list[Record]:
        """The interactions that are still where the index says, in the same order."""
        stored = batches.read(self._client, [entry.interaction_id for entry in entries], pauses)
        return [
            items.to_record(item)
            for entry in entries
            # The index lags: the id may be free by now, a stub's or another user's.
            if (item := stored.get(entry.interaction_id))
            and item.get("position") == {"S": entry.position}
            and user_id in (None, item["user_id"]["S"])
        ]

    def _moving(self, interaction_ids: Sequence[str]) -> AbstractContextManager[None]:
        return self._interactions.moving(interaction_ids)

    def _erasing(self, interactions: Sequence[ChatInteraction]) -> AbstractContextManager[None]:
        return self._interactions.erasing(interactions)

    def _forget_user(self, user_id: str) -> dict[str, int]:
        return {
            "idempotency_records": idempotency_keys.forget_user(
                self._client, user_id, self._executor.map
            ),
            "cached": self._interactions.erase_user(user_id),
        }

    def check_available_sync(self) -> None:
        self._item("readyz")

    def audit_cache_sync(self, sample: int | None) -> Audit:
        without_cache = CloudStorage(self._client, DummyCache("", {}), 1, self.archive)
        return audit_cache(self._django_cache, without_cache, sample)

    def _release(self) -> None:
        """Nothing is held between calls."""

    def _put_or_find(self, item: Item) -> tuple[Item, bool]:
        """Write a new item if its id is free. Gives what is stored, and whether this made it."""
        try:
            self._client.call("PutItem", Item=item, **condition(expressions.FREE))
        except ConditionFailed as failure:
            if failure.item is None:
                raise writes.contended() from failure
            return failure.item, writes.is_own(failure.item, item)
        return item, True
