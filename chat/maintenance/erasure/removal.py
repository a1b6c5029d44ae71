"""Finding and deleting what there is of users: in the database, the archive, the cache, and SQL.

A sweep goes through all of these once, for all users of a run together. What is in the archive is
found by its manifests, which name their users by pseudonym, and then by reading the rows.

Objects with large texts go after the rows that name them. What is found of a user without a row may
be that of a write whose row is still to come, so the next sweep, which must find it, waits for that
(`settled_at`).
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from chat.maintenance.compaction import Compaction
from chat.maintenance.runs import LockLost, OutOfTime, Run
from storage import accounts
from storage.archive.files import Entry
from storage.archive.lists import times
from storage.archive.pseudonyms import Sought
from storage.compat import batched
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.large.objects import LargeObjects, is_object
from storage.large.stand_ins import reference_of
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.pages import never

ROWS_AT_FIRST = 100
"""Rows that may have 40 MB of text."""

ROWS_AT_ONCE = 1_000
"""Rows that are deleted in one transaction, if those before were short."""

WRITE_SECONDS = 30.0
"""The longest that a write takes from its object to its row: SQLite's turn is waited for 20 s."""

SHORT_TEXT = 4_000
"""Characters of an interaction on average."""


@dataclass(frozen=True)
class Removal:
    """Removes users within a run. Counts in `found`, by user and layer, what was deleted so far.

    What keeps one user from being removed is in `failed`, and the others go on.
    """

    storage: Storage
    run: Run
    compaction: Compaction
    found: dict[str, Counter[str]]
    failed: dict[str, StorageError]
    settled_at: dict[str, float] = field(default_factory=dict)
    """When the rows of all writes are there whose objects were deleted, by user (`monotonic`)."""

    def sweep(self, users: Collection[str]) -> None:
        """Delete everything of these users that can be found now. Repeating it is safe."""
        for user_id in users:
            with noting_failures(self.failed, [user_id]):
                self._remove_hot(user_id)
        self._remove_cold(users)
        self._remove_large(self._without_failed(users))
        for user_id in self._without_failed(users):
            with noting_failures(self.failed, [user_id]):
                self._step()
                self.found[user_id].update(self.storage.forget_user(user_id, self._step))
                self.found[user_id].update(accounts.forget_user(user_id))

    def _remove_hot(self, user_id: str) -> None:
        self.storage.database.before_erasing(user_id, self._step)
        for rows in hot_pages(self.storage, user_id):
            self._step()
            self.found[user_id]["hot"] += self.storage.erase_hot(rows, user_id)
            large = sum(reference_of(row) is not None for row in rows)
            self.found[user_id].update({"large_texts": large} if large else {})

    def _remove_large(self, users: Collection[str]) -> None:
        """Delete the objects that no row has named; see the docstring of this module."""
        with noting_failures(self.failed, users):
            objects = LargeObjects(self.storage.archive.files)
            for some in _of_one_folder(objects.of_users(users)):
                self._step()
                objects.delete_all([entry.name for _, entry in some])
                offset = time.monotonic() - objects.now().timestamp()
                for user_id, entry in some:
                    if is_object(entry):
                        self.found[user_id]["large_texts"] += 1
                        settled_at = entry.modified.timestamp() + offset + WRITE_SECONDS
                        earlier = self.settled_at.get(user_id, settled_at)
                        self.settled_at[user_id] = max(earlier, settled_at)
            for user_id in users:
                objects.remove_versions(user_id)

    def _remove_cold(self, users: Collection[str]) -> None:
        wanted = self._without_failed(users)
        self._step()
        with noting_failures(self.failed, wanted):
            for segment, possible in self.storage.archive.segments_of(wanted):
                self._step()
                concerned = self._without_failed(possible)
                with noting_failures(self.failed, concerned):
                    self._remove_from(segment, concerned)

    def _remove_from(self, segment: str, users: Collection[str]) -> None:
        ids = self.storage.archive.ids_of(segment, users)
        if not ids:
            return
        marker = self.storage.archive.mark(segment)
        self.storage.database.drop_stubs([each for some in ids.values() for each in some], segment)
        self.compaction.remove_users(segment, users)
        self.storage.archive.unmark([marker])
        for user_id, some in ids.items():
            self.found[user_id]["cold"] += len(some)

    def _without_failed(self, users: Collection[str]) -> list[str]:
        return [user_id for user_id in users if user_id not in self.failed]

    def _step(self) -> None:
        self.run.step(sum(counts.total() for counts in self.found.values()))


def _of_one_folder(found: Iterable[tuple[str, Entry]]) -> Iterator[list[tuple[str, Entry]]]:
    """In lists of one folder: a bucket with versions lists all that begins as their names do."""
    for _, those in groupby(found, lambda each: each[1].name.rpartition("/")[0]):
        yield from batched(those, ROWS_AT_ONCE)


@contextmanager
def noting_failures(failed: dict[str, StorageError], users: Iterable[str]) -> Iterator[None]:
    """What goes wrong in this block keeps these users from being removed."""
    try:
        yield
    except (LockLost, OutOfTime):
        raise
    except StorageError as error:
        for user_id in users:
            failed.setdefault(user_id, error)


def hot_pages(storage: Storage, user_id: str) -> Iterator[list[ChatInteraction]]:
    """A user's hot interactions, newest first, in pages. Those created meanwhile are left out.

    They come without their large texts.
    """
    before, limit = None, ROWS_AT_FIRST
    while rows := storage.hot_of_user(user_id, limit, before, never):
        yield rows
        before = rows[-1].position
        is_short = sum(len(row.message) + len(row.response) for row in rows) <= (
            SHORT_TEXT * len(rows)
        )
        limit = ROWS_AT_ONCE if is_short else ROWS_AT_FIRST


def has_any_of(storage: Storage, day: date, user_id: str) -> bool:
    """Whether a user has interactions, hot or cold, that were created on a day (UTC)."""
    newest = storage.hot_of_user(user_id, 1, _end_of(day), never)
    if newest and newest[0].created_at.date() == day:
        return True
    archive = storage.archive
    segments = times(archive, archive.listed(day)[0], Sought([user_id]))
    return any(archive.ids_of(segment, [user_id]) for segment, _, _ in segments)


def _end_of(day: date) -> Position | None:
    """The position after all of a day; None for the last one that there is."""
    if day == date.max:
        return None
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC), ""
