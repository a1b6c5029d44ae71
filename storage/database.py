"""What a backend owes: the operations on the database that keeps interactions.

`storage.sqlite` and `storage.dynamodb` implement this list, and docs/how-to/add-a-backend.md says
how to write another. The methods are called by `storage.interface.Storage` with arguments that it
has checked, and by maintenance. None of them knows of the cache or of the archive's files.

An interaction is hot (a row of the database) or cold (a row in a segment of the archive, and a
stub in the database). It is one or the other at every moment: a tier transition is atomic. An
interaction or a stub that has expired (`storage.expiry`) leaves its id free.

Every method may raise StorageUnavailable, and every write StorageFull, with the driver's error as
the cause and no text of an interaction in the message. A backend that sends a write again after a
lost answer must know its own write when it finds it: a success must not become a conflict.

Methods that take many interactions are atomic for each of them, and need not be for all.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from storage.exceptions import ForeignTimes, InvalidInteraction, StorageError
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.models.interaction import CHECKS_OF_STORED
from storage.records.cursors import Position
from storage.records.json import Record, Stored, dumps, from_record, position_of
from storage.records.outcomes import Outcome
from storage.records.pages import Slice, TextsOf, every, never
from storage.records.questions import Question
from storage.records.runs import Ended
from storage.records.searches import Filters
from storage.records.stubs import Segments, Stub
from storage.records.texts import TextObject
from storage.records.words import Phrase
from storage.telemetry.calls import measure

Read = Callable[[str], ChatInteraction | None]
"""Returns the hot interaction with an id, or None."""

Before = Mapping[str, ChatInteraction | Stub | None]
"""What was under an id; None: nothing."""

BeforeCommit = Callable[[ChatInteraction], None]
"""Called with the interaction that is about to be committed."""


Named = tuple[str, str, TextObject]
"""The ids of a user and of an interaction, and the object that its row names."""

END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""When a lock without an end would end, in seconds since 1970."""


LAST_MOMENT = datetime.max.replace(tzinfo=UTC)

ROWS_AT_ONCE = 100
"""Rows in memory: at most 40 MB."""


class Indexed(StrEnum):
    """How much an index of words has."""

    COMPLETE = "complete"
    BEHIND = "behind"
    """It goes on by itself, or by `index_texts`."""
    LACKS_ARCHIVED = "lacks archived"
    """Some interactions have been archived that are not indexed: see `index_archived`."""


SEARCHED_AT_ONCE = 100
"""Rows that a search with filters reads in one step: as many as DynamoDB returns at once."""


class Overtaken(StorageError):
    """Others have changed what was being counted. Begin again."""


class Database(ABC):
    """Keeps interactions and stubs. Threads share one.

    Neither a read nor a change finds a hot interaction that has expired, unless its method says
    so. Reads by id show every write that was acknowledged before they began. What is returned is
    the caller's to change; its times are in UTC, with microseconds.
    """

    kind: str
    """The name of the storage that operators see: `LocalStorage`, `CloudStorage`."""

    backend: str
    """Its name in metrics: `sqlite`, `dynamodb`."""

    threads: int
    """How many calls may run at the same time."""

    index_lag_seconds: float = 0.0
    """How long it usually takes until lists and searches show what was written."""

    examined_at_most: int = 2_000
    """How many interactions a search looks at for one page."""

    name: str | None = None
    """What an archive knows it by, if it can be copied while it is in use, as a table of DynamoDB.

    Only the database that an archive knows may change it. None: a copy always takes its place.
    """

    holds_accounts: bool = False
    """Whether it is also the SQL database with API keys and staff accounts."""

    def __init_subclass__(cls) -> None:
        """Measure the calls of every backend."""
        measure(cls)

    # Hot interactions.

    @abstractmethod
    def read(self, interaction_id: str) -> ChatInteraction | None:
        """The hot interaction with this id, or None."""

    def read_stored(self, interaction_id: str) -> Stored | None:
        """As `read`. A backend that can write JSON itself does so."""
        interaction = self.read(interaction_id)
        return None if interaction is None else Stored.of(interaction)

    @abstractmethod
    def save(self, interaction: ChatInteraction) -> None:
        """Create the interaction, or replace the one with its id and user.

        A replaced one keeps its `created_at`, which is set on `interaction`; `updated_at` is set
        already. Raises InteractionConflict if the id is another user's, InteractionArchived if it
        is cold.
        """

    @abstractmethod
    def create(
        self, interaction: ChatInteraction, idempotency: Idempotency | None
    ) -> tuple[ChatInteraction | None, bool]:
        """Save an interaction under a free id; returns what is stored and whether this is new.

        Without `idempotency`, the same content (`same_content`) under the same id is returned as
        it is stored. With it, the first request with its key decides: the interaction that it
        made, or found with the same content, is returned as it is now, or None if that is gone.
        The key is remembered for IDEMPOTENCY_LIFETIME in the same transaction, with the user of
        the interaction, and found under all of `idempotency.known_as`; a request that is refused
        does not use it up. Raises InteractionConflict for other content, IdempotencyKeyReused for
        another request, TakenByStub if the id is a cold one's (`replayed` if an earlier request
        with this key made it).
        """

    @abstractmethod
    def create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        """Save interactions under ids that are free; returns one outcome each, in their order.

        What exists is not changed, and the first of two with one id counts. The stub is returned
        for an id that is a cold interaction's. Raises BatchUnfinished if time ran out, where a
        batch is not one transaction.
        """

    @abstractmethod
    def update(
        self,
        interaction_id: str,
        changes: Mapping[str, Any],
        user_id: str | None,
        before_commit: BeforeCommit,
    ) -> ChatInteraction | None:
        """Change fields of a hot interaction with `apply_changes`; returns it, or None.

        None, and nothing is changed, if there is none or, with `user_id`, if it is another
        user's. Two updates at the same time are both kept. `before_commit` is called with the
        result before each attempt to commit it.
        """

    @abstractmethod
    def delete(self, interaction_id: str, user_id: str | None) -> bool:
        """Delete a hot interaction (with `user_id`, only this user's). False if there is none."""

    @abstractmethod
    def newest(self, wanted: Slice) -> tuple[list[Record], bool]:
        """The records of a slice (`Slice.cut`), newest first, ties by id; and whether more follow.

        If more follow, there is at least one record. An index that lags may say so in error: then
        nothing follows the last of them, as if it had been deleted in between.

        All of them are at or after `created_after`, which alone keeps expired ones out,
        before `created_before`, and after the position `before` in this order. Ids compare by
        code point. A new one may be missing for `index_lag_seconds`; what was changed or deleted
        is as it is now.
        """

    def newest_interactions(self, wanted: Slice) -> list[ChatInteraction]:
        """What `newest` returns, as interactions. Override it where that saves the detour."""
        return [from_record(record) for record in self.newest(wanted)[0]]

    def newest_json(self, wanted: Slice) -> tuple[list[bytes], bool]:
        """What `newest` returns, as JSON. Override it where the database writes JSON itself."""
        records, more = self.newest(wanted)
        return [dumps(record) for record in records], more

    def search(
        self, wanted: Slice, filters: Filters, at_most: int, deadline: float
    ) -> tuple[list[Record], Position | None]:
        """The records of a slice that pass the filters, newest first, and how far the search came.

        It ends with `limit` records, with those whose texts have `max_text` characters, after
        `at_most` interactions, or at `deadline` (of `time.monotonic`), but not before it has come
        forward. The position, of the last interaction it has looked at, is None if none is left.
        Large texts are fetched where `wanted.texts_of` says so, and to look for phrases in them.
        """
        found: list[Record] = []
        examined, step, text = 0, SEARCHED_AT_ONCE if filters else wanted.limit, wanted.max_text
        while True:
            step = min(step, at_most - examined)
            part = replace(wanted, limit=step, texts_of=filters.texts_of(wanted))
            records, more = self.newest(part)
            for record in filter(filters.pass_record, records):
                found.append(record)
                text -= len(record["message"]) + len(record["response"])
                if len(found) == wanted.limit or text <= 0:
                    last = record is records[-1] and not more
                    return found, None if last else position_of(record)
            if not more:
                return found, None
            last_position = position_of(records[-1])
            examined += len(records)
            if examined >= at_most or time.monotonic() > deadline:
                return found, last_position
            wanted = replace(wanted, before=last_position)

    def find_text(
        self,
        phrases: Sequence[Phrase],
        user_id: str | None,
        after: datetime,
        before: Position | None,
        limit: int,
    ) -> list[Position] | None:
        """Up to `limit` positions of interactions, hot or cold, that have all phrases; or None.

        Newest first, created at `after` or later, before the position `before`; fewer than `limit`
        only if there are no more. `storage.records.words.have` says what it means to have a phrase
        in message or response. None of an acknowledged write is left out; but some may be changed,
        gone or another user's, as the caller checks. None if there is no index of words, or none
        that is complete: then the caller goes through the interactions.
        """
        return None

    def index_texts(self, seconds: float, *, anew: bool = False) -> Indexed | None:
        """Bring the index of words up to date, within so many seconds; None if there is none.

        With `anew` it is emptied first. Until it is complete, `find_text` returns None.
        """
        return None

    def texts_indexed(self) -> Indexed | None:
        """How much the index of words has; None if there is none. Changes nothing."""
        return None

    def segments_to_index(self) -> set[str]:
        """Returns the segments with archived rows that the index of words lacks."""
        return set()

    def index_archived(self, interactions: Sequence[ChatInteraction]) -> int:
        """Index those of these that are archived, and are not in the index of words; the count."""
        return 0

    @abstractmethod
    def next_of_user(self, user_id: str, after: Position) -> ChatInteraction | None:
        """The hot interaction of a user that follows the position `after`: the next newer one.

        A new one may be missing as in `newest`. Large texts need not be fetched.
        """

    @abstractmethod
    def find_answer(self, question: Question, read: Read) -> ChatInteraction | None:
        """The newest hot interaction that answers the question (`is_answered_by`), or None.

        What was created after `expiry.latest` is none: its date is wrong, and it would be found
        until that time comes. `max_age` is checked by the caller. A new one may be missing as in
        `newest`. A backend whose index has only ids reads what it finds there with `read`, which
        is `self.read` or the same through the cache.
        """

    # Hot interactions, for maintenance. What has expired is among them.

    @abstractmethod
    def oldest(
        self,
        until: datetime,
        limit: int,
        after: Position | None,
        texts_of: TextsOf = every,
    ) -> list[ChatInteraction]:
        """Up to `limit` hot interactions created at or before `until`, oldest first, ties by id.

        `after`, a time and an id, is where the previous page ended: only later ones are returned.
        May return fewer, but not none, where their texts are large. For `texts_of`, see `Slice`.
        """

    @abstractmethod
    def count_oldest(self, until: datetime, at_most: int) -> int:
        """How many hot interactions were created at or before `until`; stops at `at_most`.

        May return fewer rather than take longer than a few seconds.
        """

    def users(self) -> Iterator[str]:
        """Every user of whom there is a hot interaction or an idempotency key; some perhaps twice.

        Here only those with interactions. It may cost a read of everything. Override it where that
        is not needed, or where idempotency keys have users.
        """
        after = None
        while page := self.oldest(LAST_MOMENT, ROWS_AT_ONCE, after, never):
            if page[0].position == after:
                raise ForeignTimes  # the next page would begin with the same row, for ever
            yield from {interaction.user_id for interaction in page}
            after = page[-1].position

    @abstractmethod
    def remove_expired(self, interactions: Sequence[ChatInteraction], until: datetime) -> int:
        """Delete these if they are hot and were created at or before `until`; returns the count."""

    def before_erasing(self, user_id: str, check_time: Callable[[], None]) -> None:
        """Prepare for the deletion of all of a user's rows; called before the first one.

        What is done here need not be done for each row. Calls `check_time` every few seconds and
        lets through what it raises; the next call goes on.
        """

    def erasing_called_off(self, user_id: str) -> None:
        """Undo what `before_erasing` has done: rows of the user stay, and are to be found."""

    @abstractmethod
    def remove_of_user(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        """Delete these if they are hot and this user's; returns the count."""

    @abstractmethod
    def text_objects(self, interaction_ids: Sequence[str]) -> dict[str, TextObject]:
        """The objects that hot rows with these ids name in place of large texts, by id."""

    @abstractmethod
    def all_text_objects(self) -> Iterator[Named]:
        """The objects of all hot rows with large texts, in any order.

        It may cost a read of everything.
        """

    # Cold interactions: stubs.

    @abstractmethod
    def look(self, interaction_id: str) -> ChatInteraction | Stub | None:
        """The hot interaction or the stub under an id, at one moment. A stub may have expired."""

    def look_at(
        self, interaction_ids: Sequence[str], texts_of: TextsOf = every
    ) -> dict[str, ChatInteraction | Stub]:
        """What `look` returns for many ids, by id. Override it where one call reads many.

        For `texts_of`, see `Slice`.
        """
        found = {interaction_id: self.look(interaction_id) for interaction_id in interaction_ids}
        return {interaction_id: seen for interaction_id, seen in found.items() if seen}

    @abstractmethod
    def stubs(self, interaction_ids: Sequence[str]) -> dict[str, Stub]:
        """The stubs under these ids, by id. They may have expired."""

    @abstractmethod
    def all_stubs(self) -> Iterator[Stub]:
        """All stubs, in any order. They may have expired. It may cost a read of everything."""

    @abstractmethod
    def move_to_cold(self, interactions: Sequence[ChatInteraction], segment: Segments) -> int:
        """Replace hot interactions by stubs that name `segment`, or each its own; the count.

        One whose fields, both times among them, are not exactly those given has changed, and
        stays. Those that have expired move, too.
        """

    @abstractmethod
    def return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        """Replace stubs that name `segment` by these interactions; returns the count.

        An interaction without such a stub is passed over. Both times are kept.
        """

    @abstractmethod
    def adopt(self, interactions: Sequence[ChatInteraction], segment: str) -> bool:
        """Make stubs for rows of `segment` that have none.

        An interaction that is hot (even if it has expired), or whose stub names another segment, is
        passed over. Returns whether there was none.
        """

    @abstractmethod
    def move_stubs(
        self, interactions: Sequence[ChatInteraction], segment: str, to_segment: str
    ) -> int:
        """Let the stubs of these rows that name `segment` name another; returns the count.

        No row is without a stub meanwhile.
        """

    @abstractmethod
    def drop_stubs(self, interaction_ids: Sequence[str], segment: str) -> int:
        """Delete the stubs under these ids that name `segment`; returns the count."""

    @abstractmethod
    def remove_expired_stubs(self, until: datetime, limit: int) -> int:
        """Delete up to `limit` stubs of what was created at or before `until`; returns the count.

        Does nothing where the database does so by itself.
        """

    # What else there is of a user.

    @abstractmethod
    def forget_user(
        self, user_id: str, check_time: Callable[[], None] = lambda: None
    ) -> dict[str, int]:
        """Delete what is kept of a user besides interactions; returns counts by kind.

        `idempotency_records` is the number of idempotency keys. If each process has a cache of its
        own, this must also make all of them forget (`storage.cache.in_memory.Changes.erasures`).
        Calls `check_time` as `before_erasing` does.
        """

    @abstractmethod
    def remove_expired_idempotency_keys(self, until: datetime, limit: int) -> int:
        """Delete up to `limit` idempotency keys that expired at or before `until`; the count.

        Does nothing where the database does so by itself.
        """

    @abstractmethod
    def count_expired_idempotency_keys(self, until: datetime) -> int:
        """How many `remove_expired_idempotency_keys` would delete without a limit."""

    # Usage.

    @abstractmethod
    def count_usage(self, seconds: float) -> datetime | None:
        """Bring `UsageOfModel` and `UsageOfUser` up to date, within so many seconds.

        Returns the time (UTC) up to which they are complete, or None if something is missing that
        only `manage.py rebuild_usage` can count. Each change of an interaction is counted exactly
        once, whatever is killed meanwhile.
        """

    def complete_stubs(self, interactions: Sequence[ChatInteraction], segment: str) -> None:
        """Add to the stubs that name `segment` what usage needs and earlier versions left out.

        Override it where a deletion of a stub could not be counted otherwise.
        """

    def snapshot(self, day: date) -> AbstractContextManager[Callable[[], Before]]:
        """Reads of a day's interactions and roll-ups in this block, as of its beginning.

        Yields a function that returns which interactions have changed since, by id, with what
        they were: None if there was none. It is empty where reads see one state. It raises
        Overtaken if that cannot be told; begin again. Write nothing in the block.
        """
        return nullcontext(dict)

    # Locks.

    @abstractmethod
    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        """Acquire a lock, or renew it, until `seconds` from now; returns whether `owner` has it.

        It can be acquired if nobody has it, if its time is over, or if it ends later than
        `latest_lock_end` allows: then it was acquired while the clock was ahead of what it is now.
        So all who acquire a lock of one name name the same `seconds`. With infinite ones it has no
        end.
        """

    @abstractmethod
    def lock_owner(self, name: str, seconds: float) -> str | None:
        """Who has a lock that is acquired for so many seconds, or None. Changes nothing."""

    @abstractmethod
    def release_lock(self, name: str, owner: str) -> None:
        """Release a lock, if `owner` has it."""

    @abstractmethod
    def drop_lock(self, name: str) -> None:
        """Release a lock, whoever has it. For what no run holds, as after a loss."""

    # When maintenance last ran.

    @abstractmethod
    def record_run(self, command: str, at: datetime) -> None:
        """Remember when a command last ran, in place of what is remembered of it."""

    @abstractmethod
    def last_runs(self) -> dict[str, datetime]:
        """When each command last ran, by its name."""

    @abstractmethod
    def record_end(self, command: str, ended: Ended) -> None:
        """Remember how a command last ended, in place of what is remembered of it.

        It is no trace of the clock, as `record_run` is: only what operators see.
        """

    @abstractmethod
    def last_ends(self) -> dict[str, Ended]:
        """How each command last ended, by its name."""

    def server_time(self) -> datetime | None:
        """What the clock of a database server says; None if there is no server or no answer.

        The clock of another machine tells whether that of this one is right.
        """
        return None

    # The database itself.

    @abstractmethod
    def check_available(self) -> None:
        """Raises StorageUnavailable if interactions cannot be read now."""

    def index_problem(self) -> str | None:
        """What is wrong with an index that lists need, or None. Must cost next to nothing."""
        return None

    def startup_problem(self) -> str | None:
        """What an operator must put right before the first read, with the remedy; or None.

        Also None if the database does not answer for now, which passes by itself.
        """
        return None

    def in_use(self) -> dict[str, tuple[int, int]]:
        """How much of what is limited is in use now, and the limit: such as connections."""
        return {}

    def describe(self) -> dict[str, str | int]:
        """Where it is and, if that can be told, its size: for operators."""
        return {}

    def scrub(
        self, since: datetime | None = None, check_time: Callable[[], None] = lambda: None
    ) -> datetime:
        """Leave nothing in the files of what was deleted before `since` (by default now).

        Returns the time, `since` or later, before which everything that was deleted is gone by
        now. May take long, and goes on where an earlier call was stopped. Nobody waits for it
        longer than for other writers. Raises what `check_time` raises, which is called again and
        again, and StorageUnavailable if a transaction stands in the way: try again.
        """
        return max(datetime.now(UTC), since or datetime.min.replace(tzinfo=UTC))

    def scrub_seconds(self) -> float:
        """About how long a `scrub` from the beginning takes."""
        return 0.0

    def reclaim(self) -> int:
        """Return some unused space to the file system; the bytes, 0 once there is no more."""
        return 0

    def unreclaimable_bytes(self) -> int:
        """Unused bytes that `reclaim` cannot return."""
        return 0

    def release(self) -> None:
        """Return what a call holds after it, such as a connection to a pool.

        Called at the end of each call that a coroutine makes, in its thread.
        """


def latest_lock_end(now: float, seconds: float) -> float:
    """When a lock of so many seconds ends at the latest, in seconds since 1970.

    The clocks of two machines may differ by as long as a lock lasts. What ends later is no lock: it
    was left by a process that was killed while its clock was ahead, or before the clock was set
    back. Otherwise it would keep others away until that time comes.
    """
    return min(now + 2 * seconds, END_OF_TIME)


def apply_changes(interaction: ChatInteraction, changes: Mapping[str, Any]) -> None:
    """Set fields of an interaction, and `updated_at` to now. Raises InvalidInteraction."""
    for name, value in changes.items():
        setattr(interaction, name, value)
    if problems := interaction.violations(CHECKS_OF_STORED):
        raise InvalidInteraction(problems)
    interaction.updated_at = datetime.now(UTC)
