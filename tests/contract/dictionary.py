"""The smallest backend: dictionaries in memory. It shows what `storage.database` asks for.

It is for tests: nothing outlives the process, and every list looks at every interaction.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from storage import expiry
from storage.database import (
    END_OF_TIME,
    BeforeCommit,
    Database,
    Named,
    Read,
    apply_changes,
    latest_lock_end,
)
from storage.exceptions import IdempotencyKeyReused, InteractionArchived, InteractionConflict
from storage.models import ChatInteraction
from storage.models.idempotency import IDEMPOTENCY_LIFETIME, Idempotency
from storage.records.cursors import Position
from storage.records.json import Record, from_record, to_record
from storage.records.outcomes import Outcome
from storage.records.pages import Slice, TextsOf, every
from storage.records.questions import Question
from storage.records.runs import Ended
from storage.records.stubs import Segments, Stub, TakenByStub, segment_of
from storage.records.texts import TextObject


class Changes:
    """Tells the cache whether anything was written (`storage.cache.in_memory.Changes`)."""

    commits = 0
    forgotten = 0

    def version(self) -> str:
        return str(self.commits)

    last_version = version

    def committed_as(self) -> None:
        """Not known, so writes are not cached; the first read after a write is."""

    def erasures(self) -> int:
        return self.forgotten


class Made(NamedTuple):
    """What an idempotency key has made, and with which request."""

    interaction_id: str
    user_id: str
    request: str
    expires_at: datetime


class DictionaryDatabase(Database):
    """Keeps copies of interactions, under one lock. The methods stand in `Database`'s order."""

    kind = "DictionaryStorage"
    backend = "dictionary"
    threads = 4

    def __init__(self) -> None:
        self.changes = Changes()
        self._lock = threading.RLock()
        self._hot: dict[str, ChatInteraction] = {}
        self._stubs: dict[str, Stub] = {}
        self._made: dict[str, Made] = {}
        self._locks: dict[str, tuple[str, float]] = {}
        self._runs: dict[str, datetime] = {}
        self._ends: dict[str, Ended] = {}

    def read(self, interaction_id: str) -> ChatInteraction | None:
        with self._lock:
            row = self._hot.get(interaction_id)
            return None if row is None or expiry.has_expired(row.created_at) else copy_of(row)

    def save(self, interaction: ChatInteraction) -> None:
        interaction_id = interaction.interaction_id
        with self._writing():
            self._free_expired(interaction_id)
            if interaction_id in self._stubs:
                raise InteractionArchived(interaction_id)
            existing = self._hot.get(interaction_id, interaction)
            if existing.user_id != interaction.user_id:
                raise InteractionConflict(interaction_id)
            interaction.created_at = existing.created_at
            self._hot[interaction_id] = copy_of(interaction)

    def create(
        self, interaction: ChatInteraction, idempotency: Idempotency | None
    ) -> tuple[ChatInteraction | None, bool]:
        with self._writing():
            if idempotency is None:
                return self._insert_or_find(interaction)
            for known in idempotency.known_as:
                made = self._made.get(known.key)
                if made is not None and made.expires_at > datetime.now(UTC):
                    return self._repeated(made, known), False
            stored, created = self._insert_or_find(interaction)
            until = datetime.now(UTC) + IDEMPOTENCY_LIFETIME
            made = Made(stored.interaction_id, stored.user_id, idempotency.request, until)
            self._made[idempotency.key] = made
            return stored, created

    def create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        with self._writing():
            return [self._outcome(interaction) for interaction in interactions]

    def update(
        self,
        interaction_id: str,
        changes: Mapping[str, Any],
        user_id: str | None,
        before_commit: BeforeCommit,
    ) -> ChatInteraction | None:
        with self._writing():
            interaction = self.read(interaction_id)
            if interaction is None or user_id not in (None, interaction.user_id):
                return None
            apply_changes(interaction, changes)
            before_commit(interaction)
            self._hot[interaction_id] = copy_of(interaction)
            return interaction

    def delete(self, interaction_id: str, user_id: str | None) -> bool:
        def is_theirs(row: ChatInteraction) -> bool:
            return user_id in (None, row.user_id) and not expiry.has_expired(row.created_at)

        return bool(self._remove(self._hot, [interaction_id], is_theirs))

    def newest(self, wanted: Slice) -> tuple[list[Record], bool]:
        rows = self._oldest_first(
            lambda row: (
                wanted.user_id in (None, row.user_id)
                and row.created_at >= wanted.created_after
                and (wanted.created_before is None or row.created_at < wanted.created_before)
                and (wanted.before is None or row.position < wanted.before)
            )
        )
        return wanted.cut(map(to_record, reversed(rows)))

    def next_of_user(self, user_id: str, after: Position) -> ChatInteraction | None:
        newer = self._oldest_first(
            lambda row: (
                row.user_id == user_id
                and row.position > after
                and not expiry.has_expired(row.created_at)
            )
        )
        return copy_of(newer[0]) if newer else None

    def find_answer(self, question: Question, read: Read) -> ChatInteraction | None:
        with self._lock:
            latest = expiry.latest()
            answers = self._oldest_first(
                lambda row: question.is_answered_by(row) and row.created_at <= latest
            )
            return self.read(answers[-1].interaction_id) if answers else None

    def oldest(
        self,
        until: datetime,
        limit: int,
        after: Position | None,
        texts_of: TextsOf = every,
    ) -> list[ChatInteraction]:
        rows = self._oldest_first(
            lambda row: row.created_at <= until and (after is None or row.position > after)
        )
        return [copy_of(row) for row in rows[:limit]]

    def count_oldest(self, until: datetime, at_most: int) -> int:
        return len(self.oldest(until, at_most, None))

    def remove_expired(self, interactions: Sequence[ChatInteraction], until: datetime) -> int:
        return self._remove(self._hot, ids(interactions), lambda row: row.created_at <= until)

    def remove_of_user(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        return self._remove(self._hot, ids(interactions), lambda row: row.user_id == user_id)

    def look(self, interaction_id: str) -> ChatInteraction | Stub | None:
        with self._lock:
            return self._stubs.get(interaction_id) or self.read(interaction_id)

    def text_objects(self, interaction_ids: Sequence[str]) -> dict[str, TextObject]:
        return {}  # all texts are in memory

    def all_text_objects(self) -> Iterator[Named]:
        return iter(())

    def stubs(self, interaction_ids: Sequence[str]) -> dict[str, Stub]:
        with self._lock:
            return {id_: self._stubs[id_] for id_ in interaction_ids if id_ in self._stubs}

    def all_stubs(self) -> Iterator[Stub]:
        return iter(list(self._stubs.values()))

    def move_to_cold(self, interactions: Sequence[ChatInteraction], segment: Segments) -> int:
        with self._writing():
            unchanged = [row for row in interactions if self._is_as_stored(row)]
            for row in unchanged:
                del self._hot[row.interaction_id]
                self._put_stub(row, segment_of(segment, row.interaction_id))
            return len(unchanged)

    def return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        with self._writing():
            cold = [row for row in interactions if self._segment_of(row) == segment]
            for row in cold:
                del self._stubs[row.interaction_id]
                self._hot[row.interaction_id] = copy_of(row)
            return len(cold)

    def adopt(
        self, interactions: Sequence[ChatInteraction], segment: str, segments: Set[str]
    ) -> bool:
        with self._writing():
            for row in interactions:
                named = self._segment_of(row)
                if row.interaction_id not in self._hot and named not in segments:
                    self._put_stub(row, segment)
            return all(self._segment_of(row) == segment for row in interactions)

    def drop_stubs(self, interaction_ids: Sequence[str], segment: str) -> int:
        return self._remove(self._stubs, interaction_ids, lambda stub: stub.segment == segment)

    def drop_other_stubs(self, segments: Set[str]) -> int:
        return self._remove(self._stubs, self._stubs, lambda stub: stub.segment not in segments)

    def remove_expired_stubs(self, until: datetime, limit: int) -> int:
        return self._remove(self._stubs, self._stubs, lambda stub: stub.created_at <= until, limit)

    def forget_user(self, user_id: str) -> dict[str, int]:
        self.changes.forgotten += 1  # before the commit, with which the cache looks at it
        forgotten = self._remove(self._made, self._made, lambda made: made.user_id == user_id)
        return {"idempotency_records": forgotten}

    def remove_expired_idempotency_keys(self, until: datetime, limit: int) -> int:
        return self._remove(self._made, self._made, lambda made: made.expires_at <= until, limit)

    def count_expired_idempotency_keys(self, until: datetime) -> int:
        with self._lock:
            return sum(made.expires_at <= until for made in self._made.values())

    def count_usage(self, seconds):
        return None

    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        now = datetime.now(UTC).timestamp()
        with self._lock:
            if self.lock_owner(name, seconds) not in (None, owner):
                return False
            self._locks[name] = (owner, min(now + seconds, END_OF_TIME))
            return True

    def lock_owner(self, name: str, seconds: float) -> str | None:
        now = datetime.now(UTC).timestamp()
        with self._lock:
            owner, until = self._locks.get(name, (None, 0.0))
            return owner if now < until <= latest_lock_end(now, seconds) else None

    def release_lock(self, name: str, owner: str) -> None:
        self._remove(self._locks, [name], lambda held: held[0] == owner)

    def drop_lock(self, name: str) -> None:
        self._locks.pop(name, None)

    def record_run(self, command: str, at: datetime) -> None:
        self._runs[command] = at

    def last_runs(self) -> dict[str, datetime]:
        return dict(self._runs)

    def record_end(self, command: str, ended: Ended) -> None:
        self._ends[command] = ended

    def last_ends(self) -> dict[str, Ended]:
        return dict(self._ends)

    def check_available(self) -> None:
        pass

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            yield
            self.changes.commits += 1

    def _oldest_first(self, is_wanted: Callable[[ChatInteraction], bool]) -> list[ChatInteraction]:
        """The rows themselves, not copies, with those that have expired."""
        with self._lock:
            return sorted(filter(is_wanted, self._hot.values()), key=lambda row: row.position)

    def _remove(
        self,
        rows: dict[str, Any],
        keys: Iterable[str],
        is_wanted: Callable[[Any], bool],
        limit: int | None = None,
    ) -> int:
        with self._writing():
            wanted = [key for key in set(keys) if key in rows and is_wanted(rows[key])][:limit]
            for key in wanted:
                del rows[key]
            return len(wanted)

    def _free_expired(self, interaction_id: str) -> None:
        for rows in (self._hot, self._stubs):
            self._remove(rows, [interaction_id], lambda kept: expiry.has_expired(kept.created_at))

    def _insert_or_find(self, interaction: ChatInteraction) -> tuple[ChatInteraction, bool]:
        interaction_id = interaction.interaction_id
        self._free_expired(interaction_id)
        if interaction_id in self._stubs:
            raise TakenByStub(self._stubs[interaction_id])
        if interaction_id not in self._hot:
            self._hot[interaction_id] = copy_of(interaction)
            return interaction, True
        if not self._hot[interaction_id].same_content(interaction):
            raise InteractionConflict(interaction_id)
        return copy_of(self._hot[interaction_id]), False

    def _repeated(self, made: Made, idempotency: Idempotency) -> ChatInteraction | None:
        if made.request != idempotency.request:
            raise IdempotencyKeyReused("This idempotency key came with another request before.")
        found = self.look(made.interaction_id)
        if isinstance(found, Stub) and not found.has_expired:
            raise TakenByStub(found, replayed=True)
        return None if isinstance(found, Stub) else found

    def _outcome(self, interaction: ChatInteraction) -> Outcome | Stub:
        try:
            created = self._insert_or_find(interaction)[1]
        except TakenByStub as taken:
            return taken.stub
        except InteractionConflict:
            return Outcome.CONFLICT
        return Outcome.CREATED if created else Outcome.UNCHANGED

    def _is_as_stored(self, row: ChatInteraction) -> bool:
        stored = self._hot.get(row.interaction_id)
        return stored is not None and to_record(stored) == to_record(row)

    def _segment_of(self, row: ChatInteraction) -> str | None:
        stub = self._stubs.get(row.interaction_id)
        return None if stub is None else stub.segment

    def _put_stub(self, row: ChatInteraction, segment: str) -> None:
        self._stubs[row.interaction_id] = Stub(row.interaction_id, row.created_at, segment)


def ids(interactions: Sequence[ChatInteraction]) -> list[str]:
    return [interaction.interaction_id for interaction in interactions]


def copy_of(interaction: ChatInteraction) -> ChatInteraction:
    """Another object with the same fields, and its times in UTC."""
    return from_record(to_record(interaction))
