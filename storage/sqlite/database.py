"""SqliteDatabase: interactions in SQLite, through Django's connections of one alias."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from django.db import DatabaseError, IntegrityError, connections, transaction

from storage import expiry
from storage.database import Before, BeforeCommit, Database, Indexed, Named, Read, apply_changes
from storage.exceptions import InteractionArchived, InteractionConflict
from storage.large.rows import LargeRows
from storage.large.stand_ins import Kept, in_object, reference_of, same_content
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.records.cursors import Position
from storage.records.json import Record, Stored, dumps
from storage.records.outcomes import Outcome
from storage.records.pages import Slice, TextsOf, ends, every
from storage.records.questions import Question
from storage.records.runs import Ended
from storage.records.searches import Filters
from storage.records.stubs import Segments, Stub, TakenByStub
from storage.records.texts import OBJECT, TextObject
from storage.records.words import Phrase
from storage.sql.errors import translated
from storage.sqlite import (
    answers,
    cold,
    creating,
    idempotency_keys,
    indexes,
    large_rows,
    last_runs,
    locks,
    queries,
    scrubbed_database,
    searches,
    space,
    turns,
    usage,
    wal,
)
from storage.sqlite.changes import Changes, count_erasure
from storage.sqlite.statements import Statements
from storage.sqlite.text_damage import told_apart
from storage.sqlite.text_index import TextIndex

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 64
"""Rows of a page that are fetched before their sizes are looked at. A usual page has fewer."""

WRITES_PER_LOG_CHECK = 16
"""Single writes between two checks of the size of the write-ahead log."""


class SqliteDatabase(Database):
    """Keeps interactions in the SQL database `alias`, whose engine is `storage.sqlite`."""

    kind = "LocalStorage"
    backend = "sqlite"
    holds_accounts = True
    examined_at_most = searches.EXAMINED_AT_MOST

    def __init__(self, alias: str, objects: LargeTexts) -> None:
        self._alias = alias
        self.large = LargeRows(objects)
        self._statements = Statements(alias)
        self._rows = self._statements.rows
        self._transaction = self._statements.transaction
        self._options = connections[alias].settings_dict["OPTIONS"]
        self.threads = self._options["pool"]["max_size"]
        self.changes = Changes(self._statements)
        self._texts = TextIndex(self._statements, self.large)
        self._writes = 0

    def read(self, interaction_id: str) -> ChatInteraction | None:
        with translated:
            found = self._read(interaction_id)
        if found is None or OBJECT not in found.__dict__:  # a call would cost more
            return found
        return self.large.whole(found, self._now)

    def read_stored(self, interaction_id: str) -> Stored | None:
        sql = queries.select_json_by_id(self._alias)
        with translated:
            rows = self._rows(sql, {"interaction_id": interaction_id})
        if not rows:
            return None
        found = queries.to_stored(rows[0])
        if found is None:
            interaction = self.read(interaction_id)
            return None if interaction is None else Stored.of(interaction)
        return None if expiry.has_expired(found.created_at) else found

    def save(self, interaction: ChatInteraction) -> None:
        interaction_id = interaction.interaction_id
        packed = self.large.packed(interaction)
        parameters = queries.to_parameters(packed) | {"cutoff": _cutoff()}
        gone: list[Kept] = []

        def replace() -> str:
            gone.clear()
            saved = self._upserted(parameters)
            if not saved:
                gone.extend(creating.delete_expired(self._statements, [interaction_id]))
                saved = self._upserted(parameters)
            if not saved and (kept := large_rows.kept(self._statements, interaction_id)):
                gone.append(kept)
                saved = self._upserted(parameters, over_object=True)
            if not saved:
                raise self._conflict(interaction_id)
            return str(saved[0][0])

        with self.large.committing(packed), translated:
            created_at = self._transaction(replace, interaction_id)
        with translated:
            interaction.created_at = queries.to_time(created_at)
            self._after_write()
        self.large.remove(gone)

    def create(
        self, interaction: ChatInteraction, idempotency: Idempotency | None
    ) -> tuple[ChatInteraction | None, bool]:
        packed = self.large.packed(interaction)
        parameters = queries.to_parameters(packed)
        gone: list[Kept] = []

        def insert() -> tuple[ChatInteraction | None, bool]:
            gone.clear()
            if idempotency is None:
                return self._insert_or_find(packed, parameters, gone)
            made_before = idempotency_keys.find(self._statements, idempotency)
            if made_before is not None:
                return self._made(made_before), False
            stored, created = self._insert_or_find(packed, parameters, gone)
            idempotency_keys.remember(self._statements, idempotency, stored)
            return stored, created

        with self.large.committing(packed), translated:
            stored, created = self._transaction(insert, interaction.interaction_id)
        with translated:
            self._after_write()
        self.large.remove(gone)
        if created:
            return interaction, True
        if packed is not interaction:
            self.large.discard([packed])
        return self.large.whole(stored, self._now), False

    def create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        if any(in_object(new.message, new.response) for new in interactions):
            with translated:
                outcomes = large_rows.create_many(self._statements, self.large, interactions)
        else:
            outcomes = self._create_many(interactions)
        with translated:
            self._keep_log_bounded()
        self._texts.changed()
        return outcomes

    def update(
        self,
        interaction_id: str,
        changes: Mapping[str, Any],
        user_id: str | None,
        before_commit: BeforeCommit,
    ) -> ChatInteraction | None:
        def complete() -> ChatInteraction | None:
            interaction = self._read(interaction_id)
            if interaction is None or user_id not in (None, interaction.user_id):
                return None
            if reference_of(interaction) is not None:
                raise large_rows.HasLargeTexts
            apply_changes(interaction, changes)
            if in_object(interaction.message, interaction.response) is not None:
                raise large_rows.HasLargeTexts
            before_commit(interaction)
            large_rows.update(self._statements, interaction)
            return interaction

        with translated:
            try:
                updated = self._transaction(complete, interaction_id)
            except large_rows.HasLargeTexts:
                updated = large_rows.update_whole(
                    self._statements,
                    self.large,
                    lambda: self._of_user(interaction_id, user_id),
                    changes,
                    before_commit,
                )
            self._after_write()
            return updated

    def delete(self, interaction_id: str, user_id: str | None) -> bool:
        sql = queries.delete(self._alias, of_user=user_id is not None)
        parameters = {"interaction_id": interaction_id, "user_id": user_id, "cutoff": _cutoff()}
        with translated:
            rows = self._transaction(lambda: self._rows(sql, parameters), interaction_id)
            self._after_write()
        self.large.remove(cold.kept_in(rows))
        return bool(rows)

    def newest(self, wanted: Slice) -> tuple[list[Record], bool]:
        while True:
            rows, more = self._newest_rows(wanted)
            found = [queries.to_record(row) for row in rows]
            if any(row[-1] is not None for row in rows):
                found = self.large.whole_records(found, self._now, wanted.texts_of)
            if found or not more:  # else all were deleted meanwhile
                return found, more

    def newest_json(self, wanted: Slice) -> tuple[list[bytes], bool]:
        items = self._newest_json_at_once(wanted)
        if items is not None:
            return items[: wanted.limit], len(items) > wanted.limit
        records, more = self.newest(wanted)
        return [dumps(record) for record in records], more

    def newest_interactions(self, wanted: Slice) -> list[ChatInteraction]:
        while True:
            rows, more = self._newest_rows(wanted)
            packed = [queries.to_interaction(row) for row in rows]
            found = self.large.all_whole(packed, self._now, wanted.texts_of)
            if found or not more:
                return found

    def next_of_user(self, user_id: str, after: Position) -> ChatInteraction | None:
        parameters = {
            "user_id": user_id,
            "cutoff": _cutoff(),
            "after_time": queries.to_text(after[0]),
            "after_id": after[1],
        }
        with translated:
            rows = self._rows(queries.select_next(self._alias), parameters)
        return queries.to_interaction(rows[0]) if rows else None

    def find_text(
        self,
        phrases: Sequence[Phrase],
        user_id: str | None,
        after: datetime,
        before: Position | None,
        limit: int,
    ) -> list[Position] | None:
        return self._texts.find(phrases, user_id, after, before, limit)

    def search(
        self, wanted: Slice, filters: Filters, at_most: int, deadline: float
    ) -> tuple[list[Record], Position | None]:
        if not filters:  # one statement, and no row is read twice
            return super().search(wanted, filters, at_most, deadline)
        with translated:
            found, end = searches.search(
                self._statements, self.large, wanted, filters, at_most, deadline
            )
        return self.large.whole_records(found, self._now, wanted.texts_of), end

    def index_texts(self, seconds: float, *, anew: bool = False) -> Indexed | None:
        with translated, told_apart():
            return self._texts.bring_up_to_date(seconds, anew=anew)

    def texts_indexed(self) -> Indexed | None:
        with translated, told_apart():
            return self._texts.indexed()

    def segments_to_index(self) -> set[str]:
        with translated, told_apart():
            missing = self._texts.missing()
            return {each.segment for ids in missing for each in self.stubs(ids).values()}

    def index_archived(self, interactions: Sequence[ChatInteraction]) -> int:
        with translated, told_apart():
            return self._texts.add(interactions)

    def find_answer(self, question: Question, read: Read) -> ChatInteraction | None:
        with translated:
            newest = answers.newest(self._statements, question)
        if newest is None or expiry.has_expired(newest.created_at):
            return None
        if reference_of(newest) is None:
            return newest
        # If it is another by now, it was the newest answer when this began, and is it no more.
        whole = self.large.whole(newest, self._now)
        return whole if whole is not None and question.is_answered_by(whole) else None

    def oldest(
        self,
        until: datetime,
        limit: int,
        after: Position | None,
        texts_of: TextsOf = every,
    ) -> list[ChatInteraction]:
        after_time, after_id = after or (None, None)
        parameters = {
            "until": queries.to_text(until),
            "limit": limit,
            "after_time": after_time and queries.to_text(after_time),
            "after_id": after_id,
        }
        sql = queries.select_oldest(self._alias, after=after is not None)
        while True:
            with translated:
                found = [queries.to_interaction(row) for row in self._rows(sql, parameters)]
            whole = self.large.first_whole(found, self._now, texts_of)
            if whole or not found:  # else all were deleted meanwhile
                return whole

    def count_oldest(self, until: datetime, at_most: int) -> int:
        due = self._hot_rows.filter(created_at__lte=until)
        with translated:
            return int(due.order_by("created_at")[:at_most].count())

    def users(self) -> Iterator[str]:
        with translated:  # an index has them in their order
            yield from list(self._hot_rows.order_by().values_list("user_id", flat=True).distinct())
            yield from idempotency_keys.users(self._alias)

    def remove_expired(self, interactions: Sequence[ChatInteraction], until: datetime) -> int:
        ids = [interaction.interaction_id for interaction in interactions]
        return self._texts.after(cold.remove_hot(self._statements, self.large, ids, until))

    def before_erasing(self, user_id: str, check_time: Callable[[], None]) -> None:
        with translated:
            self._texts.before_erasing(user_id, check_time)

    def erasing_called_off(self, user_id: str) -> None:
        with translated, told_apart():
            self._texts.index_again(user_id)

    def remove_of_user(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        ids = [interaction.interaction_id for interaction in interactions]
        return self._texts.after(cold.remove_of_user(self._statements, self.large, ids, user_id))

    def text_objects(self, interaction_ids: Sequence[str]) -> dict[str, TextObject]:
        ids = {"ids": json.dumps(list(interaction_ids))}
        with translated:
            rows = self._rows(queries.select_objects(self._alias), ids)
        return {row_id: TextObject.loads(reference) for _, row_id, reference, *_ in rows}

    def all_text_objects(self) -> Iterator[Named]:
        return cold.all_text_objects(self._alias)

    def look(self, interaction_id: str) -> ChatInteraction | Stub | None:
        while True:
            with translated, self._statements.snapshot():
                found = self._read(interaction_id)
                if found is None:
                    return cold.stub(self._statements, interaction_id)
            if whole := self.large.whole(found, self._now):
                return whole  # else it has just been deleted or archived: look again

    def look_at(
        self,
        interaction_ids: Sequence[str],
        texts_of: TextsOf = every,
    ) -> dict[str, ChatInteraction | Stub]:
        with translated:
            found = cold.look_at(self._statements, interaction_ids)
        return self.large.look_again(found, self.look, texts_of)

    def stubs(self, interaction_ids: Sequence[str]) -> dict[str, Stub]:
        return cold.stubs(self._alias, interaction_ids)

    def all_stubs(self) -> Iterator[Stub]:
        return cold.all_stubs(self._alias)

    def move_to_cold(self, interactions: Sequence[ChatInteraction], segment: Segments) -> int:
        self._texts.before_archiving(interactions)
        return cold.move(self._statements, self.large, interactions, segment)

    def return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        return self._texts.after(
            cold.bring_back(self._statements, self.large, interactions, segment)
        )

    def adopt(self, interactions: Sequence[ChatInteraction], segment: str) -> bool:
        return cold.adopt(self._alias, interactions, segment)

    def move_stubs(
        self, interactions: Sequence[ChatInteraction], segment: str, to_segment: str
    ) -> int:
        return cold.move_stubs(self._alias, interactions, segment, to_segment)

    def drop_stubs(self, interaction_ids: Sequence[str], segment: str) -> int:
        return self._texts.after(cold.drop(self._alias, interaction_ids, segment))

    def remove_expired_stubs(self, until: datetime, limit: int) -> int:
        return self._texts.after(cold.remove_expired_stubs(self._alias, until, limit))

    def forget_user(
        self, user_id: str, check_time: Callable[[], None] = lambda: None
    ) -> dict[str, int]:
        with translated, transaction.atomic(self._alias):
            forgotten = idempotency_keys.forget_user(self._alias, user_id)
            count_erasure(self._statements)
        with translated:
            self._texts.forget_user(user_id, check_time)
        return {"idempotency_records": forgotten}

    def remove_expired_idempotency_keys(self, until: datetime, limit: int) -> int:
        with translated:
            return idempotency_keys.remove_expired(self._alias, until, limit)

    def count_expired_idempotency_keys(self, until: datetime) -> int:
        with translated:
            return idempotency_keys.count_expired(self._alias, until)

    def count_usage(self, seconds: float) -> datetime | None:
        with translated:
            return usage.complete_until(self._alias)

    def complete_stubs(self, interactions: Sequence[ChatInteraction], segment: str) -> None:
        with translated:
            usage.complete_stubs(self._statements, interactions, segment)

    @contextmanager
    def snapshot(self, day: date) -> Iterator[Callable[[], Before]]:
        with translated, self._statements.snapshot():
            yield dict

    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        with translated:
            return locks.acquire(self._alias, name, owner, seconds)

    def lock_owner(self, name: str, seconds: float) -> str | None:
        with translated:
            return locks.owner_of(self._alias, name, seconds)

    def release_lock(self, name: str, owner: str) -> None:
        with translated:
            locks.release(self._alias, name, owner)

    def drop_lock(self, name: str) -> None:
        with translated:
            locks.drop(self._alias, name)

    def record_run(self, command: str, at: datetime) -> None:
        with translated:
            last_runs.record(self._alias, command, at)

    def last_runs(self) -> dict[str, datetime]:
        with translated:
            return last_runs.times(self._alias)

    def record_end(self, command: str, ended: Ended) -> None:
        with translated:
            last_runs.record_end(self._alias, command, ended)

    def last_ends(self) -> dict[str, Ended]:
        with translated:
            return last_runs.ends(self._alias)

    def check_available(self) -> None:
        self.read("readyz")
        self._check_files()

    def index_problem(self) -> str | None:
        with translated:
            return next(indexes.problems(self._alias), None)

    def in_use(self) -> dict[str, tuple[int, int]]:
        connection: Any = connections[self._alias]
        lent = 0 if connection.pool is None else connection.pool.lent
        writers = turns.number(str(connection.settings_dict["NAME"]))
        return {"connections": (lent, self.threads), "writers": (writers, 1)}

    def describe(self) -> dict[str, str | int]:
        described = space.describe(connections[self._alias].settings_dict["NAME"])
        return described | {"search index bytes": self._texts.bytes()}

    def scrub(
        self, since: datetime | None = None, check_time: Callable[[], None] = lambda: None
    ) -> datetime:
        since = since or datetime.now(UTC)
        with translated:
            until = self._texts.scrub(since, check_time)
            return min(until, scrubbed_database.scrub(self._statements, since, check_time))

    def scrub_seconds(self) -> float:
        with translated:
            return scrubbed_database.seconds(self._statements) + self._texts.scrub_seconds()

    def reclaim(self) -> int:
        with translated:
            if space.free_pages(self._statements):
                scrubbed_database.end_pass(self._alias)
            return space.reclaim(self._statements)

    def unreclaimable_bytes(self) -> int:
        with translated:
            return space.unreclaimable_bytes(self._statements)

    def release(self) -> None:
        connections[self._alias].close()

    @property
    def _hot_rows(self) -> Any:
        return ChatInteraction.objects.using(self._alias)

    def _newest_rows(self, wanted: Slice) -> tuple[list[tuple[Any, ...]], bool]:
        """The rows of a slice, and whether more follow."""
        left, message, response = wanted.max_text, queries.MESSAGE, queries.RESPONSE
        rows: list[tuple[Any, ...]] = []
        # One more shows whether there are more.
        sql, parameters = self._newest(wanted, wanted.limit + 1)
        with translated, self._statements.cursor(sql, parameters) as cursor:
            for row in cursor:
                if row[-1] is None:
                    characters = len(row[message]) + len(row[response])
                else:
                    characters = wanted.characters_of(queries.to_record(row))
                if rows and ends(left, characters):
                    return rows, True
                rows.append(row)
                left -= characters
        return rows[: wanted.limit], len(rows) > wanted.limit

    def _newest_json_at_once(self, wanted: Slice) -> list[bytes] | None:
        """The rows of a slice as JSON, and one more if there is one.

        None if one has stand-ins, or if the texts may be too long for a page.
        """
        items: list[bytes] = []
        left = wanted.max_text
        sql, parameters = self._newest(wanted, wanted.limit + 1, queries.select_newest_json)
        with translated, self._statements.cursor(sql, parameters) as cursor:
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                found = [item for (item,) in rows]
                if None in found:
                    return None
                left -= sum(map(len, found))  # bytes are at least as many as characters
                if left <= 0:
                    return None
                items += found
        return items

    def _newest(
        self, wanted: Slice, limit: int, select: Callable[..., str] = queries.select_newest
    ) -> tuple[str, dict[str, Any]]:
        """The statement for a slice, and its parameters."""
        sql = select(
            self._alias,
            of_user=wanted.user_id is not None,
            before=wanted.before is not None,
            until=wanted.created_before is not None,
        )
        return sql, queries.slice_parameters(wanted) | {"limit": limit}

    def _read(self, interaction_id: str) -> ChatInteraction | None:
        rows = self._rows(queries.select_by_id(self._alias), {"interaction_id": interaction_id})
        interaction = queries.to_interaction(rows[0]) if rows else None
        if interaction is None or expiry.has_expired(interaction.created_at):
            return None
        return interaction

    def _now(self, interaction_id: str) -> ChatInteraction | None:
        with translated:
            return self._read(interaction_id)

    def _upserted(
        self, parameters: Mapping[str, Any], *, over_object: bool = False
    ) -> list[tuple[Any, ...]]:
        try:
            return self._rows(queries.upsert(self._alias, over_object=over_object), parameters)
        except IntegrityError:  # the id is a cold interaction's
            return []

    def _conflict(self, interaction_id: str) -> InteractionConflict:
        if cold.stub(self._statements, interaction_id) is None:
            return InteractionConflict(interaction_id)
        return InteractionArchived(interaction_id)

    def _made(self, interaction_id: str) -> ChatInteraction | None:
        """Returns the interaction that an idempotency key created, or None if it was deleted."""
        interaction = self._read(interaction_id)
        stub = None if interaction else cold.stub(self._statements, interaction_id)
        if stub is not None and not stub.has_expired:
            raise TakenByStub(stub, replayed=True)
        return interaction

    def _of_user(self, interaction_id: str, user_id: str | None) -> ChatInteraction | None:
        found = self._now(interaction_id)
        return found if found is not None and user_id in (None, found.user_id) else None

    def _create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        """Create rows that have their texts."""
        rows = [queries.to_parameters(interaction) for interaction in interactions]
        gone: list[Kept] = []
        with translated:
            try:
                return self._transaction(lambda: creating.insert(self._statements, rows))
            except IntegrityError:  # some exist
                outcomes = self._transaction(
                    lambda: creating.insert_missing(self._statements, rows, gone)
                )
        self.large.remove(gone)
        return outcomes

    def _insert_or_find(
        self, interaction: ChatInteraction, parameters: Mapping[str, Any], gone: list[Kept]
    ) -> tuple[ChatInteraction, bool]:
        try:
            self._rows(queries.insert(self._alias), parameters)
            return interaction, True
        except IntegrityError:
            stored = self._read(interaction.interaction_id)
            stub = None if stored else cold.stub(self._statements, interaction.interaction_id)
            if stub is not None and not stub.has_expired:
                raise TakenByStub(stub) from None
            if stored is None:  # it has expired
                ids = [interaction.interaction_id]
                gone.extend(creating.delete_expired(self._statements, ids))
                self._rows(queries.insert(self._alias), parameters)
                return interaction, True
            if not same_content(stored.__dict__, interaction.__dict__):
                raise InteractionConflict(interaction.interaction_id) from None
            return stored, False

    def _check_files(self) -> None:
        with translated:
            self._statements.check_files()

    def _after_write(self) -> None:
        self._texts.changed()
        self._writes += 1
        if self._writes % WRITES_PER_LOG_CHECK == 0:
            self._keep_log_bounded()

    def _keep_log_bounded(self) -> None:
        database = str(connections[self._alias].settings_dict["NAME"])
        if self._statements.in_transaction() or not wal.is_too_long(database):
            return
        try:
            with self._statements.writing() as connection:
                wal.keep_bounded(connection, database, self._options["timeout"] * 1000)
        except (sqlite3.Error, DatabaseError, OSError) as error:
            # The interaction is saved, so this is no error of the call.
            logger.warning("Saved, but the write-ahead log was not checked: %s", error)


def _cutoff() -> str:
    return queries.to_text(expiry.cutoff())
