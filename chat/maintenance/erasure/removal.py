"""Finding and deleting what there is of one user: in the database, the archive, the cache, and SQL.

A sweep goes through all of these once. What is in the archive is found by its manifests, which
name their users by pseudonym, and then by reading the rows.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from chat.maintenance.compaction import Compaction
from chat.maintenance.runs import Run
from storage import accounts
from storage.archive.archive import Archive
from storage.archive.lists import times
from storage.archive.pseudonyms import Sought
from storage.interface import Storage
from storage.models import ChatInteraction

ROWS_AT_ONCE = 100


@dataclass(frozen=True)
class Removal:
    """Removes one user within a run. Counts in `found`, by layer, what was deleted so far."""

    storage: Storage
    user_id: str
    run: Run
    compaction: Compaction
    found: Counter[str]

    def sweep(self) -> None:
        """Delete everything that can be found now. Repeating it is safe."""
        for rows in hot_pages(self.storage, self.user_id):
            self._step()
            self.found["hot"] += self.storage.erase_hot(rows, self.user_id)
        for segment, _ in self.storage.archive.segments_of([self.user_id]):
            self._step()
            self.found["cold"] += self._remove_from(segment)
        self._step()
        self.found.update(self.storage.forget_user(self.user_id))
        self.found.update(accounts.forget_user(self.user_id))

    def _remove_from(self, segment: str) -> int:
        ids = ids_in(self.storage.archive, segment, self.user_id)
        if ids:
            marker = self.storage.archive.mark(segment)
            self.storage.database.drop_stubs(ids, segment)
            self.compaction.remove_users(segment, [self.user_id])
            self.storage.archive.unmark([marker])
        return len(ids)

    def _step(self) -> None:
        self.run.step(self.found.total())


def hot_pages(storage: Storage, user_id: str) -> Iterator[list[ChatInteraction]]:
    """A user's hot interactions, newest first, in pages. Those created meanwhile are left out."""
    before = None
    while rows := storage.hot_of_user(user_id, ROWS_AT_ONCE, before):
        yield rows
        before = rows[-1].position


def cold_ids(archive: Archive, user_id: str) -> Iterator[list[str]]:
    """The ids of a user's rows in the archive, by segment."""
    for day in archive.days():
        for segment in _may_have(archive, day, user_id):
            yield ids_in(archive, segment, user_id)


def has_any_of(storage: Storage, day: date, user_id: str) -> bool:
    """Whether a user has interactions, hot or cold, that were created on a day (UTC)."""
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
    newest = storage.hot_of_user(user_id, 1, (end, ""))
    if newest and newest[0].created_at.date() == day:
        return True
    archive = storage.archive
    segments = _may_have(archive, day, user_id)
    return any(ids_in(archive, segment, user_id) for segment in segments)


def ids_in(archive: Archive, segment: str, user_id: str) -> list[str]:
    """The ids of a user's rows in a segment."""
    return archive.ids_of(segment, [user_id]).get(user_id, [])


def _may_have(archive: Archive, day: date, user_id: str) -> Iterator[str]:
    found = times(archive, archive.listed(day)[0], Sought([user_id]))
    return (segment for segment, _, _ in found)
