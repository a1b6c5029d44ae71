"""The smallest backend: dictionaries in memory. It shows what `storage.database` asks for.

It is for tests: nothing outlives the process, and every list looks at every interaction.
"""

import threading
from datetime import UTC, datetime
from typing import NamedTuple

from storage import expiry
from storage.database import END_OF_TIME, Database, apply_changes, latest_lock_end
from storage.exceptions import IdempotencyKeyReused, InteractionArchived, InteractionConflict
from storage.models import ChatInteraction
from storage.models.idempotency import IDEMPOTENCY_LIFETIME
from storage.records.json import from_record, to_record
from storage.records.outcomes import Outcome
from storage.records.pages import every
from storage.records.runs import Ended
from storage.records.stubs import Stub, TakenByStub, segment_of


class Made(NamedTuple):
    """What an idempotency key has made, and with which request."""

    interaction_id: str
    user_id: str
    request: str
    expires_at: datetime


class DictionaryDatabase(Database):
    """Keeps copies of interactions, under one lock. Order and types are those of `Database`."""

    kind = "DictionaryStorage"
    backend = "dictionary"
    threads = 4

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows: dict[str, ChatInteraction | Stub] = {}  # what is hot, and what is cold
        self._made: dict[str, Made] = {}
        self._locks: dict[str, tuple[str, float]] = {}
        self._runs: dict[str, datetime] = {}
        self._ends: dict[str, Ended] = {}

    def read(self, interaction_id):
        found = self.look(interaction_id)
        return None if isinstance(found, Stub) else found

    def save(self, interaction):
        with self._lock:
            existing = self.look(interaction.interaction_id) or interaction
            if isinstance(existing, Stub):
                raise InteractionArchived(interaction.interaction_id)
            if existing.user_id != interaction.user_id:
                raise InteractionConflict(interaction.interaction_id)
            interaction.created_at = existing.created_at
            self._put(interaction)

    def create(self, interaction, idempotency):
        with self._lock:
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

    def create_many(self, interactions):
        return [self._outcome(interaction) for interaction in interactions]

    def update(self, interaction_id, changes, user_id, before_commit):
        with self._lock:
            interaction = self.read(interaction_id)
            if interaction is None or user_id not in (None, interaction.user_id):
                return None
            apply_changes(interaction, changes)
            before_commit(interaction)
            self._put(interaction)
            return interaction

    def delete(self, interaction_id, user_id):
        with self._lock:
            interaction = self.read(interaction_id)
            if interaction is None or user_id not in (None, interaction.user_id):
                return False
            del self._rows[interaction_id]
            return True

    def newest(self, wanted):
        rows = [
            row
            for row in self._hot()
            if wanted.user_id in (None, row.user_id)
            and row.created_at >= wanted.created_after
            and (wanted.created_before is None or row.created_at < wanted.created_before)
            and (wanted.before is None or row.position < wanted.before)
        ]
        return wanted.cut(map(to_record, reversed(rows)))

    def next_of_user(self, user_id, after):
        newer = [row for row in self._hot() if row.user_id == user_id and row.position > after]
        return next((row for row in newer if not expiry.has_expired(row.created_at)), None)

    def find_answer(self, question, read):
        with self._lock:
            answers = [
                row
                for row in self._hot()
                if question.is_answered_by(row) and row.created_at <= expiry.latest()
            ]
            return self.read(answers[-1].interaction_id) if answers else None

    def oldest(self, until, limit, after, texts_of=every):
        rows = [row for row in self._hot() if row.created_at <= until]
        return [row for row in rows if after is None or row.position > after][:limit]

    def count_oldest(self, until, at_most):
        return len(self.oldest(until, at_most, None))

    def remove_expired(self, interactions, until):
        chosen = set(interactions)  # equal by their ids; no stub is equal to one
        return self._remove(self._rows, lambda row: row in chosen and row.created_at <= until)

    def remove_of_user(self, interactions, user_id):
        chosen = set(interactions)
        return self._remove(self._rows, lambda row: row in chosen and row.user_id == user_id)

    def look(self, interaction_id):
        with self._lock:
            row = self._rows.get(interaction_id)
            return None if row is None or expiry.has_expired(row.created_at) else copy_of(row)

    def text_objects(self, interaction_ids):
        return {}  # all texts are in memory

    def all_text_objects(self):
        return iter(())

    def stubs(self, interaction_ids):
        found = {stub.interaction_id: stub for stub in self.all_stubs()}
        return {id_: found[id_] for id_ in interaction_ids if id_ in found}

    def all_stubs(self):
        with self._lock:
            return iter([row for row in self._rows.values() if isinstance(row, Stub)])

    def move_to_cold(self, interactions, segment):
        with self._lock:
            unchanged = [row for row in interactions if self._is_as_stored(row)]
            for row in unchanged:
                self._put_stub(row, segment_of(segment, row.interaction_id))
            return len(unchanged)

    def return_from_cold(self, interactions, segment):
        with self._lock:
            cold = [row for row in interactions if self._segment_of(row) == segment]
            for row in cold:
                self._put(row)
            return len(cold)

    def adopt(self, interactions, segment):
        with self._lock:
            for row in interactions:
                if row.interaction_id not in self._rows:
                    self._put_stub(row, segment)
            return all(self._segment_of(row) == segment for row in interactions)

    def move_stubs(self, interactions, segment, to_segment):
        with self._lock:
            moved = [row for row in interactions if self._segment_of(row) == segment]
            for row in moved:
                self._put_stub(row, to_segment)
            return len(moved)

    def drop_stubs(self, interaction_ids, segment):
        return self._remove_stubs(
            lambda stub: stub.interaction_id in interaction_ids and stub.segment == segment
        )

    def remove_expired_stubs(self, until, limit):
        return self._remove_stubs(lambda stub: stub.created_at <= until, limit)

    def forget_user(self, user_id, check_time=None):
        return {"idempotency_records": self._remove(self._made, lambda m: m.user_id == user_id)}

    def remove_expired_idempotency_keys(self, until, limit):
        return self._remove(self._made, lambda made: made.expires_at <= until, limit)

    def count_expired_idempotency_keys(self, until):
        with self._lock:
            return sum(made.expires_at <= until for made in self._made.values())

    def count_usage(self, seconds):
        return None

    def acquire_lock(self, name, owner, seconds):
        now = datetime.now(UTC).timestamp()
        with self._lock:
            if self.lock_owner(name, seconds) not in (None, owner):
                return False
            self._locks[name] = (owner, min(now + seconds, END_OF_TIME))
            return True

    def lock_owner(self, name, seconds):
        now = datetime.now(UTC).timestamp()
        owner, until = self._locks.get(name, (None, 0.0))
        return owner if now < until <= latest_lock_end(now, seconds) else None

    def release_lock(self, name, owner):
        with self._lock:
            if self._locks.get(name, ("", 0.0))[0] == owner:
                del self._locks[name]

    def drop_lock(self, name):
        self._locks.pop(name, None)

    def record_run(self, command, at):
        self._runs[command] = at

    def last_runs(self):
        return dict(self._runs)

    def record_end(self, command, ended):
        self._ends[command] = ended

    def last_ends(self):
        return dict(self._ends)

    def check_available(self):
        pass

    def _hot(self):
        """Copies of all that is hot, oldest first, with what has expired."""
        with self._lock:
            hot = [copy_of(row) for row in self._rows.values() if isinstance(row, ChatInteraction)]
        return sorted(hot, key=lambda row: row.position)

    def _put(self, interaction):
        self._rows[interaction.interaction_id] = copy_of(interaction)

    def _put_stub(self, row, segment):
        self._rows[row.interaction_id] = Stub(row.interaction_id, row.created_at, segment)

    def _remove(self, rows, is_wanted, limit=None):
        with self._lock:
            wanted = [key for key, row in rows.items() if is_wanted(row)][:limit]
            for key in wanted:
                del rows[key]
            return len(wanted)

    def _remove_stubs(self, is_wanted, limit=None):
        return self._remove(self._rows, lambda row: isinstance(row, Stub) and is_wanted(row), limit)

    def _insert_or_find(self, interaction):
        existing = self.look(interaction.interaction_id)
        if isinstance(existing, Stub):
            raise TakenByStub(existing)
        if existing is None:
            self._put(interaction)
            return interaction, True
        if not existing.same_content(interaction):
            raise InteractionConflict(interaction.interaction_id)
        return existing, False

    def _repeated(self, made, idempotency):
        if made.request != idempotency.request:
            raise IdempotencyKeyReused
        found = self.look(made.interaction_id)
        if isinstance(found, Stub):
            raise TakenByStub(found, replayed=True)
        return found

    def _outcome(self, interaction):
        try:
            created = self.create(interaction, None)[1]
        except TakenByStub as taken:
            return taken.stub
        except InteractionConflict:
            return Outcome.CONFLICT
        return Outcome.CREATED if created else Outcome.UNCHANGED

    def _is_as_stored(self, row):
        stored = self._rows.get(row.interaction_id)
        return isinstance(stored, ChatInteraction) and to_record(stored) == to_record(row)

    def _segment_of(self, row):
        found = self._rows.get(row.interaction_id)
        return found.segment if isinstance(found, Stub) else None


def copy_of(row):
    """Another object with the same fields, and its times in UTC; a stub is never changed."""
    return row if isinstance(row, Stub) else from_record(to_record(row))
