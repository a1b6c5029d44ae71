"""LocalStorage: interactions in SQLite, with the process's memory as cache."""

import logging
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, NoReturn

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.db import DatabaseError, IntegrityError, connections, transaction

from storage import expiry, limits
from storage.archive.archive import Archive
from storage.cache.cells import NoCells
from storage.cache.data_version import DataVersion
from storage.cache.interactions import InteractionCache, Writing
from storage.cache.memory_cells import MemoryCells
from storage.cache.memory_strings import MemoryStrings
from storage.exceptions import (
    InteractionArchived,
    InteractionConflict,
    InvalidInteraction,
    NoSharedCache,
)
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.models.interaction import COMPLETED_FIELDS
from storage.records import cursors
from storage.records.json import Record, Stored
from storage.records.outcomes import Outcome
from storage.records.pages import Slice
from storage.records.questions import Question
from storage.records.stubs import Stub, TakenByStub
from storage.sql_errors import translated
from storage.sqlite import idempotency_keys, queries, wal
from storage.sqlite.base import close_before_fork
from storage.sqlite.cold import LocalTiers

logger = logging.getLogger(__name__)

WRITES_PER_LOG_CHECK = 16
"""Single writes between two looks at the size of the write-ahead log."""

AFTER_ALL_MODELS = chr(sys.maxunicode) * (limits.MODEL_MAX_LENGTH + 1)
"""Greater than the name of any model."""


class LocalStorage(LocalTiers):
    """Keeps interactions in the SQL database `alias`, whose engine is `storage.sqlite`."""

    def __init__(self, alias: str, cache: BaseCache, archive: Archive) -> None:
        self._options = connections[alias].settings_dict["OPTIONS"]
        super().__init__(alias, self._options["pool"]["max_size"], archive)
        self._writes = 0
        data_version = DataVersion(self._open_idle_connection)
        close_before_fork(data_version)
        self._cells = MemoryCells(cache, data_version)
        self._strings = MemoryStrings(cache, self._cells)
        self._interactions = InteractionCache(self._cells, settings.CACHE_TTL)

    def cache_get_sync(self, key: str) -> str | None:
        return self._strings.get(key)

    def cache_set_sync(self, key: str, value: str, ttl: int) -> None:
        self._strings.set(key, value, ttl)

    def _save(self, interaction: ChatInteraction) -> None:
        with translated, self._writing(interaction.interaction_id, interaction) as writing:
            parameters = queries.to_parameters(interaction) | {"cutoff": _cutoff()}
            saved = self._upserted(parameters)
            if not saved:
                self._delete_expired(interaction.interaction_id)
                saved = self._upserted(parameters)
            if not saved:
                raise self._conflict(interaction.interaction_id)
            interaction.created_at = queries.to_time(saved[0][0])
            writing.committed(interaction)

    def _upserted(self, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        try:
            return self._rows(queries.upsert(self._alias), parameters)
        except IntegrityError:  # the id is an archived interaction's
            return []

    def _conflict(self, interaction_id: str) -> InteractionConflict:
        if self._stub(interaction_id) is None:
            return InteractionConflict(interaction_id)
        return InteractionArchived(interaction_id)

    def _get(self, interaction_id: str) -> Stored | None:
        with translated:
            if self._statements.in_transaction():  # may see what is not committed
                interaction = self._read(interaction_id)
                return None if interaction is None else Stored(interaction=interaction)
            return self._interactions.get(interaction_id, self._read)

    def _answer(self, question: Question) -> Stored | None:
        with translated:
            if self._statements.in_transaction():
                interaction = self._find(question)
                return None if interaction is None else Stored(interaction=interaction)
            return self._interactions.answer(question, self._find, self._read)

    def _create(
        self, interaction: ChatInteraction, idempotency: Idempotency | None
    ) -> tuple[ChatInteraction | None, bool]:
        with translated, self._writing(interaction.interaction_id, interaction) as writing:
            if idempotency is None:
                stored, created = self._insert_or_find(interaction)
            else:
                with transaction.atomic(self._alias):
                    made_before = idempotency_keys.find(idempotency)
                    if made_before is not None:
                        return self._made(made_before), False
                    stored, created = self._insert_or_find(interaction)
                    idempotency_keys.remember(idempotency, stored)
            if created:
                writing.committed(stored)
            return stored, created

    def _made(self, interaction_id: str) -> ChatInteraction | None:
        """What an idempotency key has made, if it is there still."""
        interaction = self._read(interaction_id)
        stub = None if interaction else self._stub(interaction_id)
        if stub is not None and not stub.has_expired:
            raise TakenByStub(stub, replayed=True)
        return interaction

    def _create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        rows = [queries.to_parameters(interaction) for interaction in interactions]
        with translated:
            try:
                with transaction.atomic(self._alias), connections[self._alias].wrap_database_errors:
                    connection = connections[self._alias].connection
                    connection.executemany(queries.insert(self._alias), rows)
                outcomes: list[Outcome | Stub] = [Outcome.CREATED] * len(rows)
            except IntegrityError:  # some exist: one by one then
                with transaction.atomic(self._alias):
                    outcomes = [self._outcome(interaction) for interaction in interactions]
            self._keep_log_bounded()
            return outcomes

    def _update(
        self, interaction_id: str, changes: Mapping[str, Any], user_id: str | None
    ) -> ChatInteraction | None:
        with translated, self._writing(interaction_id) as writing:
            with transaction.atomic(self._alias):
                interaction = self._read(interaction_id)
                if interaction is None or user_id not in (None, interaction.user_id):
                    return None
                for name, value in changes.items():
                    setattr(interaction, name, value)
                if problems := limits.violations(interaction):
                    raise InvalidInteraction(problems)
                interaction.updated_at = datetime.now(UTC)
                writing.will_commit(interaction)
                values = queries.to_parameters(interaction)
                names = ("interaction_id", "updated_at", *COMPLETED_FIELDS)
                self._rows(queries.update(self._alias), {name: values[name] for name in names})
            writing.committed(interaction)
            return interaction

    def _delete(self, interaction_id: str, user_id: str | None) -> bool:
        sql = queries.delete(self._alias, of_user=user_id is not None)
        with translated, self._writing(interaction_id):
            parameters = {"interaction_id": interaction_id, "user_id": user_id, "cutoff": _cutoff()}
            return bool(self._rows(sql, parameters))

    def _newest(self, wanted: Slice) -> tuple[list[Record], bool]:
        sql = queries.select_newest(
            self._alias,
            of_user=wanted.user_id is not None,
            before=wanted.before is not None,
            until=wanted.created_before is not None,
        )
        with translated:
            rows = self._rows(sql, queries.slice_parameters(wanted))
        found = [queries.to_record(row) for row in rows[: wanted.limit]]
        return found, len(rows) > wanted.limit

    def _moving(self, interaction_ids: Sequence[str]) -> AbstractContextManager[None]:
        return nullcontext()  # every process forgets all that it has cached, this one too

    def _erasing(self, interactions: Sequence[ChatInteraction]) -> AbstractContextManager[None]:
        return self._interactions.erasing(interactions)

    def _forget_user(self, user_id: str) -> dict[str, int]:
        with translated, transaction.atomic(self._alias):
            records = idempotency_keys.forget_user(self._alias, user_id)
            (count,) = self._rows("PRAGMA user_version", {})[0]
            self._rows(f"PRAGMA user_version = {(count + 1) % 2**31}", {})
        self._interactions.erase_user(user_id)
        return {"idempotency_records": records}

    def check_available_sync(self) -> None:
        with translated:
            self._read("readyz")

    def _release(self) -> None:
        connections[self._alias].close()

    def audit_cache_sync(self, sample: int | None) -> NoReturn:
        raise NoSharedCache(
            "Each server has its cache in its own memory, where no other process can look."
        )

    def _find(self, question: Question) -> ChatInteraction | None:
        if question.model_used is not None:
            newest = self._answer_of(question, question.model_used, of_model=True)
        else:
            with self._statements.snapshot():
                newest = max(self._answers_of_models(question), key=_position, default=None)
        return None if newest is None or expiry.has_expired(newest.created_at) else newest

    def _answers_of_models(self, question: Question) -> Iterator[ChatInteraction]:
        """The newest answer of each model that has answered: one step in the index each."""
        model_used = AFTER_ALL_MODELS
        while found := self._answer_of(question, model_used, of_model=False):
            yield found
            model_used = found.model_used

    def _answer_of(
        self, question: Question, model_used: str, *, of_model: bool
    ) -> ChatInteraction | None:
        parameters = queries.question_parameters(question) | {"model_used": model_used}
        rows = self._rows(queries.select_answer(self._alias, of_model=of_model), parameters)
        return queries.to_interaction(rows[0]) if rows else None

    def _delete_expired(self, interaction_id: str) -> None:
        """Free the id if its row, or its stub, has expired."""
        parameters = {"interaction_id": interaction_id, "cutoff": _cutoff()}
        self._rows(queries.delete_expired(self._alias), parameters)
        self._stub_rows.filter(pk=interaction_id, created_at__lte=expiry.cutoff()).delete()

    def _outcome(self, interaction: ChatInteraction) -> Outcome | Stub:
        try:
            _, created = self._insert_or_find(interaction)
        except TakenByStub as taken:
            return taken.stub
        except InteractionConflict:
            return Outcome.CONFLICT
        return Outcome.CREATED if created else Outcome.UNCHANGED

    def _insert_or_find(
        self, interaction: ChatInteraction, attempts: int = 3
    ) -> tuple[ChatInteraction, bool]:
        try:
            self._rows(queries.insert(self._alias), queries.to_parameters(interaction))
            return interaction, True
        except IntegrityError:
            stored = self._read(interaction.interaction_id)
            stub = None if stored else self._stub(interaction.interaction_id)
            if stub is not None and not stub.has_expired:
                raise TakenByStub(stub) from None
            if stored is None and attempts > 1:  # it has expired, or was deleted just now
                self._delete_expired(interaction.interaction_id)
                return self._insert_or_find(interaction, attempts - 1)
            if stored is None:
                raise
            if not stored.same_content(interaction):
                raise InteractionConflict(interaction.interaction_id) from None
            return stored, False

    @contextmanager
    def _writing(
        self, interaction_id: str, interaction: ChatInteraction | None = None
    ) -> Iterator[Writing]:
        """Around one write, its commit included. See Note [Commits of others]."""
        if self._statements.in_transaction():
            yield Writing(NoCells(), [])  # the caller will commit it; the cells are forgotten then
            return
        before = self._commits_of_others()
        with self._interactions.writing(interaction_id, interaction) as writing:
            yield writing
            if self._statements.in_transaction():  # opened by the write itself, without autocommit
                writing.result = None
                return
            with self._already_saved():
                self._cells.committed(lambda: self._commits_of_others() == before)
        self._writes += 1
        if self._writes % WRITES_PER_LOG_CHECK == 0:
            self._keep_log_bounded()

    def _commits_of_others(self) -> int:
        """A number that changes when another connection has committed, unlike this thread's own."""
        return self._rows("PRAGMA data_version", {})[0][0]

    def _keep_log_bounded(self) -> None:
        if not self._statements.in_transaction():
            connection = connections[self._alias]
            database = str(connection.settings_dict["NAME"])
            with self._already_saved():
                wal.keep_bounded(connection.connection, database, self._options["timeout"] * 1000)

    @contextmanager
    def _already_saved(self) -> Iterator[None]:
        """What fails after the commit must not make a saved interaction look unsaved."""
        try:
            yield
        except (sqlite3.Error, DatabaseError, OSError) as error:
            logger.warning("After a commit that holds: %s", error)

    def _open_idle_connection(self) -> sqlite3.Connection:
        parameters = connections[self._alias].get_connection_params()
        return sqlite3.connect(
            parameters["database"], uri=True, check_same_thread=False, timeout=20
        )


def _position(interaction: ChatInteraction) -> cursors.Position:
    return interaction.created_at, interaction.interaction_id


def _cutoff() -> str:
    return queries.to_text(expiry.cutoff())
