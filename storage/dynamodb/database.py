"""DynamoDBDatabase: interactions in a DynamoDB table."""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import date, datetime
from itertools import islice
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

from storage import expiry
from storage.database import Before, BeforeCommit, Database, Named, Read, apply_changes
from storage.dynamodb import (
    advice,
    answers,
    batches,
    cold,
    everyones,
    expressions,
    idempotency_keys,
    items,
    last_runs,
    lists,
    locks,
    own_name,
    saves,
    shards,
    table,
    usage_recount,
    writes,
)
from storage.dynamodb.client import Client, ConditionFailed, TransactionCanceled
from storage.dynamodb.expressions import condition
from storage.dynamodb.items import Item, key_of
from storage.dynamodb.pauses import Pauses
from storage.dynamodb.rounds import Rounds
from storage.dynamodb.usage import UsageFollower
from storage.exceptions import StorageError
from storage.large.rows import LargeRows
from storage.large.stand_ins import Kept, reference_of, wants_object
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.records.cursors import Position
from storage.records.json import Record, format_time
from storage.records.outcomes import Outcome
from storage.records.pages import Slice, TextsOf, every
from storage.records.questions import Question
from storage.records.runs import Ended
from storage.records.stubs import Segments, Stub, TakenByStub
from storage.records.texts import OBJECT, TextObject

logger = logging.getLogger(__name__)

T = TypeVar("T")

ToRow = Callable[[Item], dict[str, Any]]
"""Makes the fields of an interaction of its item."""


class DynamoDBDatabase(Database):
    """Keeps interactions in the table of `client`, with at most `threads` calls at a time."""

    kind = "CloudStorage"
    backend = "dynamodb"
    index_lag_seconds = 1.0

    def __init__(self, client: Client, threads: int, objects: LargeTexts) -> None:
        self.client = client
        self.large = LargeRows(objects)
        self.threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="dynamodb")
        # Two of the calls stay for others, whatever comes in batches or goes to many shards.
        self._batches = ThreadPoolExecutor(max(threads - 2, 1), thread_name_prefix="batches")
        self.shards = shards.Shards(client, self._batches)
        self._rounds = Rounds(client, self._executor)
        self._usage = UsageFollower(client)

    @property
    def name(self) -> str:  # type: ignore[override]  # of whatever table the client is for now
        return self.client.table

    def read(self, interaction_id: str) -> ChatInteraction | None:
        return self.large.whole(self._now(interaction_id), self._now)

    def save(self, interaction: ChatInteraction) -> None:
        packed = self.large.packed(interaction)
        with self.large.committing(packed):
            replaced = saves.upsert(self.client, packed, self.shards.to_write())
        interaction.created_at = packed.created_at
        self.large.remove(replaced)

    def create(
        self, interaction: ChatInteraction, idempotency: Idempotency | None
    ) -> tuple[ChatInteraction | None, bool]:
        packed = self.large.packed(interaction)
        with self.large.committing(packed):
            stored, created = self._create(packed, idempotency)
        if created:
            return (interaction if stored is packed else self._whole(stored)), True
        if packed is not interaction:
            self.large.discard([packed])
        return self._whole(stored), False

    def create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        if not any(map(wants_object, interactions)):
            return self._create_many(interactions)
        known = self._known_of_large(interactions)
        new = [each for each in interactions if each.interaction_id not in known]
        packed = self.large.packed_all(new)
        with self.large.committing(*packed):
            outcomes = self._create_many(packed)
        created = zip(packed, outcomes, strict=True)
        self.large.discard(row for row, outcome in created if outcome is not Outcome.CREATED)
        if not known:
            return outcomes
        following = iter(outcomes)
        return [
            writes.outcome(each, known, set()) if each.interaction_id in known else next(following)
            for each in interactions
        ]

    def update(
        self,
        interaction_id: str,
        changes: Mapping[str, Any],
        user_id: str | None,
        before_commit: BeforeCommit,
    ) -> ChatInteraction | None:
        pauses = Pauses()
        while True:
            item = self._hot_item(interaction_id)
            if item is None:
                return None
            interaction = self._whole(items.to_interaction(item))
            if interaction is None or user_id not in (None, interaction.user_id):
                return None
            apply_changes(interaction, changes)
            if self._complete(interaction, item, before_commit):
                return interaction
            if not pauses.wait():
                raise writes.contended()

    def delete(self, interaction_id: str, user_id: str | None) -> bool:
        pauses = Pauses()
        while True:
            item = self._hot_item(interaction_id)
            if item is None:
                return False
            if user_id not in (None, item["user_id"]["S"]):
                return False
            if self._remove(interaction_id, items.version_of(item)):
                self.large.remove(items.large_texts_of(item))
                return True
            if not pauses.wait():
                raise writes.contended()

    def newest(self, wanted: Slice) -> tuple[list[Record], bool]:
        def whole(records: list[Record]) -> list[Record]:
            return self.large.whole_records(records, self._now, wanted.texts_of)

        return self._newest(wanted, items.to_record, whole)

    def newest_interactions(self, wanted: Slice) -> list[ChatInteraction]:
        def whole(rows: list[dict[str, Any]]) -> list[ChatInteraction]:
            found = [ChatInteraction.from_stored(row) for row in rows]
            return self.large.all_whole(found, self._now, wanted.texts_of)

        return self._newest(wanted, items.to_fields, whole)[0]

    def _newest(
        self, wanted: Slice, to_row: ToRow, whole: Callable[[list[dict[str, Any]]], list[T]]
    ) -> tuple[list[T], bool]:
        """A page of what `whole` makes of rows with all of their texts or stand-ins for them."""
        pauses = Pauses()
        if wanted.user_id is None:
            entries = self._everyones().newest(wanted, pauses)
        else:
            entries = lists.of_user(self.client, wanted, pauses)
        found: list[dict[str, Any]] = []
        while True:
            missing = min(wanted.limit - len(found), batches.READ_LIMIT)
            page = list(islice(entries, missing))
            found += self._rows_of(page, wanted.user_id, pauses, to_row)
            kept, more = wanted.cut(found)
            if more or not page:
                break
            if len(found) == wanted.limit:
                # Whether the next one is still there is found out by whoever asks for it.
                more = next(entries, None) is not None
                break
        rows = whole(kept)
        # Else all were deleted meanwhile.
        return (rows, more) if rows or not more else self._newest(wanted, to_row, whole)

    def next_of_user(self, user_id: str, after: Position) -> ChatInteraction | None:
        pauses = Pauses()
        entries = lists.newer(self.client, user_id, after, pauses)
        while page := list(islice(entries, lists.NEWER_AT_ONCE)):
            if rows := self._rows_of(page, user_id, pauses, items.to_fields):
                return ChatInteraction.from_stored(rows[0])
        return None

    def find_answer(self, question: Question, read: Read) -> ChatInteraction | None:
        for entry in answers.entries(self.client, question, Pauses()):
            found = read(entry.interaction_id)  # the index lags behind
            if found is not None and question.is_answered_by(found):
                return found
        return None

    def oldest(
        self,
        until: datetime,
        limit: int,
        after: Position | None,
        texts_of: TextsOf = every,
    ) -> list[ChatInteraction]:
        while found := self._everyones().oldest_interactions(until, limit, after):
            if whole := self.large.first_whole(found, self._now, texts_of):
                return whole  # else all were deleted meanwhile
        return []

    def count_oldest(self, until: datetime, at_most: int) -> int:
        return self._everyones().count_oldest(until, at_most)

    def users(self) -> Iterator[str]:
        return cold.users(self.client)

    def remove_expired(self, interactions: Sequence[ChatInteraction], until: datetime) -> int:
        only_if = condition(
            expressions.CREATED_UNTIL, until=format_time(until) + expressions.AFTER_TIME
        )
        return self._delete_all(interactions, only_if)

    def remove_of_user(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        return self._delete_all(interactions, condition(expressions.OF_USER, user_id=user_id))

    def text_objects(self, interaction_ids: Sequence[str]) -> dict[str, TextObject]:
        found = batches.read(self.client, interaction_ids, Pauses())
        kept = (kept for item in found.values() for kept in items.large_texts_of(item))
        return {row_id: TextObject.loads(reference) for _, row_id, reference in kept}

    def all_text_objects(self) -> Iterator[Named]:
        return cold.all_text_objects(self.client)

    def look(self, interaction_id: str) -> ChatInteraction | Stub | None:
        while True:
            item = self._item(interaction_id)
            if item is None:
                return None
            if stub := items.to_stub(item):
                return stub
            if items.has_expired(item):
                return None
            if whole := self._whole(items.to_interaction(item)):
                return whole  # else it has just been deleted or archived: look again

    def look_at(
        self, interaction_ids: Sequence[str], texts_of: TextsOf = every
    ) -> dict[str, ChatInteraction | Stub]:
        found = cold.look_at(self.client, interaction_ids)
        return self.large.look_again(found, self.look, texts_of)

    def stubs(self, interaction_ids: Sequence[str]) -> dict[str, Stub]:
        return cold.stubs(self.client, interaction_ids)

    def all_stubs(self) -> Iterator[Stub]:
        return cold.all_stubs(self.client)

    def move_to_cold(self, interactions: Sequence[ChatInteraction], segment: Segments) -> int:
        return cold.move(self._rounds, self.large, interactions, segment)

    def return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        shards = self.shards.to_write()
        return cold.bring_back(self._rounds, self.large, interactions, segment, shards)

    def adopt(self, interactions: Sequence[ChatInteraction], segment: str) -> bool:
        return cold.adopt(self._rounds, interactions, segment)

    def move_stubs(
        self, interactions: Sequence[ChatInteraction], segment: str, to_segment: str
    ) -> int:
        return cold.move_stubs(self._rounds, interactions, segment, to_segment)

    def drop_stubs(self, interaction_ids: Sequence[str], segment: str) -> int:
        return cold.drop(self._rounds, interaction_ids, segment)

    def remove_expired_stubs(self, until: datetime, limit: int) -> int:
        return 0  # DynamoDB's TTL deletes them

    def forget_user(
        self, user_id: str, check_time: Callable[[], None] = lambda: None
    ) -> dict[str, int]:
        do_all = self._executor.map
        forgotten = idempotency_keys.forget_user(self.client, user_id, do_all, check_time)
        return {"idempotency_records": forgotten}

    def remove_expired_idempotency_keys(self, until: datetime, limit: int) -> int:
        return 0  # DynamoDB's TTL deletes them

    def count_expired_idempotency_keys(self, until: datetime) -> int:
        return 0

    def count_usage(self, seconds: float) -> datetime | None:
        return self._usage.follow(seconds)

    def complete_stubs(self, interactions: Sequence[ChatInteraction], segment: str) -> None:
        cold.complete(self._rounds, interactions, segment)

    def snapshot(self, day: date) -> AbstractContextManager[Callable[[], Before]]:
        follow = functools.partial(self._usage.follow, usage_recount.FOLLOW_SECONDS)
        return usage_recount.snapshot(self.client, day, follow, self.index_lag_seconds)

    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        return locks.acquire(self.client, name, owner, seconds)

    def lock_owner(self, name: str, seconds: float) -> str | None:
        return locks.owner_of(self.client, name, seconds)

    def release_lock(self, name: str, owner: str) -> None:
        locks.release(self.client, name, owner)

    def drop_lock(self, name: str) -> None:
        locks.drop(self.client, name)

    def record_run(self, command: str, at: datetime) -> None:
        last_runs.record(self.client, command, at)

    def last_runs(self) -> dict[str, datetime]:
        return last_runs.times(self.client)

    def record_end(self, command: str, ended: Ended) -> None:
        last_runs.record_end(self.client, command, ended)

    def last_ends(self) -> dict[str, Ended]:
        return last_runs.ends(self.client)

    def server_time(self) -> datetime | None:
        return last_runs.server_time(self.client)

    def check_available(self) -> None:
        own_name.check(self.client)

    def startup_problem(self) -> str | None:
        try:
            self.check_available()
            own_name.record_first(self.client)
        except (ImproperlyConfigured, own_name.UnfinishedRestore) as error:
            return str(error)
        except StorageError as error:
            if not advice.passes(error):
                return advice.advice(error)
            logger.warning("Starting, although %s", error)
        return None

    def index_problem(self) -> str | None:
        return table.index_problem(self.client)

    def in_use(self) -> dict[str, tuple[int, int]]:
        return {"calls": (self.client.under_way, self.threads)}

    def describe(self) -> dict[str, str | int]:
        return {"table": self.client.table}  # `dynamodb_table describe` shows more

    def _everyones(self) -> everyones.Everyones:
        """The index of everyone's interactions, with all shards that may have some by now."""
        return everyones.Everyones(self.client, self.shards.to_read(), self._batches)

    def _item(self, interaction_id: str) -> Item | None:
        """The item, read consistently. It may be a stub, or have expired."""
        answer = self.client.call("GetItem", Key=key_of(interaction_id), ConsistentRead=True)
        return answer.get("Item")

    def _hot_item(self, interaction_id: str) -> Item | None:
        """The item, read consistently, unless it has expired or is a stub."""
        item = self._item(interaction_id)
        return None if item is None or items.has_expired(item) or items.to_stub(item) else item

    def _now(self, interaction_id: str) -> ChatInteraction | None:
        """The hot interaction, which may have stand-ins."""
        item = self._item(interaction_id)
        if item is None or items.to_stub(item):
            return None
        found = items.to_interaction(item)
        return None if expiry.has_expired(found.created_at) else found

    def _whole(self, found: ChatInteraction | None) -> ChatInteraction | None:
        return self.large.whole(found, self._now)

    def _known_of_large(self, interactions: Sequence[ChatInteraction]) -> dict[str, Item]:
        """What is stored under the ids of interactions that would want objects, by id."""
        ids = [each.interaction_id for each in interactions if wants_object(each)]
        found = batches.read(self.client, ids, Pauses())
        return {each: item for each, item in found.items() if not items.has_expired(item)}

    def _delete_all(self, interactions: Sequence[ChatInteraction], only_if: dict[str, Any]) -> int:
        """Delete the interactions for which the condition holds; returns their number."""
        gone: list[Kept] = []
        large = [each.interaction_id for each in interactions if wants_object(each)]
        others = {each.interaction_id for each in interactions}.difference(large)
        small = [each.interaction_id for each in interactions if each.interaction_id in others]
        count = self._rounds.delete_ids(small, only_if) if small else 0
        try:
            return count + self._rounds.delete_ids(
                large, only_if, lambda item: gone.extend(items.large_texts_of(item))
            )
        finally:
            self.large.remove(gone)

    def _create(
        self, packed: ChatInteraction, idempotency: Idempotency | None
    ) -> tuple[ChatInteraction | None, bool]:
        item = items.to_item(packed, items.new_version(), self.shards.to_write())
        if idempotency is not None:
            return self._create_once(packed, item, idempotency)
        found, created = saves.put_or_find(self.client, item)
        return packed if created else writes.same(packed, found), created

    def _create_many(self, packed: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        return saves.create_many(self.client, packed, self.shards.to_write(), self._batches)

    def _create_once(
        self, interaction: ChatInteraction, item: Item, idempotency: Idempotency
    ) -> tuple[ChatInteraction | None, bool]:
        pauses = Pauses()
        while True:
            try:
                idempotency_keys.create(self.client, item, idempotency)
                return interaction, True
            except TransactionCanceled as error:
                canceled = error
                made = idempotency_keys.find(self.client, idempotency)
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
                    idempotency_keys.remember(self.client, found, idempotency)
                    return found, False
                except ConditionFailed:
                    pass  # the key has just been used
            if not pauses.wait():
                raise writes.given_up(canceled)

    def _complete(
        self, interaction: ChatInteraction, before: Item, before_commit: BeforeCommit
    ) -> bool:
        """Make the changes if the item is as it was before. Returns whether it was."""
        seen = items.to_interaction(before) if OBJECT in before else interaction
        packed = self.large.packed(interaction, seen)
        is_other = reference_of(packed) != reference_of(seen)
        with self.large.committing(*[packed] if is_other else []):
            before_commit(interaction)
            is_done = self._write_completion(packed, items.version_of(before))
        if is_other:
            self.large.discard([seen if is_done else packed])
        return is_done

    def _write_completion(self, packed: ChatInteraction, expected: str) -> bool:
        """Write the changes if the item has the expected version. Returns whether it had."""
        completion = items.to_completion(packed, items.new_version())
        only_if = condition(expressions.SAME_VERSION, expected=expected)
        try:
            self.client.call(
                "UpdateItem",
                Key=key_of(packed.interaction_id),
                **expressions.update(completion, only_if),
            )
        except ConditionFailed as failure:
            if failure.item is not None and failure.item.get("v") == completion["v"]:
                return True
            if failure.repeated:
                raise writes.unknown() from failure
            return False
        return True

    def _remove(self, interaction_id: str, expected: str) -> bool:
        """Delete the item if it has the expected version. Returns whether it had."""
        only_if = condition(expressions.SAME_VERSION, expected=expected)
        try:
            self.client.call("DeleteItem", Key=key_of(interaction_id), **only_if)
        except ConditionFailed as failure:
            if not failure.repeated:
                return False
            if failure.item is None:
                return True  # an earlier attempt, whose answer was lost, has deleted it
            raise writes.unknown() from failure
        return True

    def _rows_of(
        self,
        entries: Sequence[lists.Entry],
        user_id: str | None,
        pauses: Pauses,
        to_row: ToRow,
    ) -> list[dict[str, Any]]:
        """The interactions that are still at the position in the index, in the same order."""
        stored = batches.read(self.client, [entry.interaction_id for entry in entries], pauses)
        return [
            to_row(item)
            for entry in entries
            # The index lags: the id may now be free, a stub's or another user's.
            if (item := stored.get(entry.interaction_id))
            and "position" in item
            and item["position"]["S"] == entry.position
            and user_id in (None, item["user_id"]["S"])
        ]
