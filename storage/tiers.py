"""Hot and cold: what a storage does with interactions that are in the archive, or go there.

An interaction is hot (a row of the database) or cold (a row in a segment of the archive, and its
stub in the database), and changes over in one step of the database. Cold ones are read as hot ones
are, but never changed, cached, or found as answers.
"""

import logging
from collections.abc import Sequence, Set
from datetime import UTC, datetime

from storage.archive import lists as cold_lists
from storage.archive.archive import Archive
from storage.exceptions import (
    ForeignTimes,
    InteractionArchived,
    InteractionConflict,
    StorageUnavailable,
)
from storage.hooks import Hooks
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import Archived, Record, Stored, archived_record, from_record
from storage.records.outcomes import Outcome
from storage.records.pages import Slice
from storage.records.stubs import Stub, TakenByStub, by_segment

logger = logging.getLogger(__name__)

BEGINNING = datetime.min.replace(tzinfo=UTC)

ATTEMPTS = 3
"""Looks for an interaction that changes over, again and again, between two steps of a read."""


class Tiers(Hooks):
    """The cold side of a storage. `archive` has the rows of what is cold."""

    index_lag_seconds = 0.0
    """How long it usually takes until lists show what was saved."""

    def __init__(self, threads: int, archive: Archive) -> None:
        super().__init__(threads)
        self.archive = archive

    @property
    def database(self) -> "Tiers":
        """Until the parts are apart."""
        return self

    # For the maintenance of the store; synchronous only, as its commands are.

    def oldest(
        self, until: datetime, limit: int, after: Position | None = None
    ) -> list[ChatInteraction]:
        """Up to `limit` hot interactions created at or before `until`, oldest first.

        Those that have expired are among them. `after` goes on behind a time and id.
        """
        page = self._oldest(until, limit, after)
        if page and after == (page[0].created_at, page[0].interaction_id):
            raise ForeignTimes  # else who goes on behind it would go round in circles
        return page

    def count_oldest(self, until: datetime, at_most: int) -> int:
        """How many hot interactions were created at or before `until`, counted up to `at_most`.

        Fewer if counting them takes longer than some seconds.
        """
        return self._count_oldest(until, at_most)

    def move_to_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        """Put stubs in the place of interactions that `segment` of the archive has; how many.

        One that is not, field by field, what was given has changed meanwhile, and stays.
        """
        with self._moving([each.interaction_id for each in interactions]):
            return self._move_to_cold(interactions, segment)

    def return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        """Put interactions in the place of their stubs, if these name `segment`; how many."""
        with self._moving([each.interaction_id for each in interactions]):
            return self._return_from_cold(interactions, segment)

    def adopt(self, interaction: ChatInteraction, segment: str, instead_of: str | None) -> bool:
        """Make a stub for a row of `segment`, in the place of one that names `instead_of`.

        None for where there was no stub. False, and nothing is done, if the interaction is hot.
        """
        return self._adopt(interaction, segment, instead_of)

    def drop_other_stubs(self, segments: Set[str]) -> int:
        """Delete stubs that name none of these segments; how many.

        0 where stubs cannot be listed (DynamoDB). One whose row is gone counts as gone, too.
        """
        return self._drop_other_stubs(segments)

    def stubs(self, interaction_ids: Sequence[str]) -> dict[str, Stub]:
        """The stubs under these ids, by id; also those that have expired."""
        return self._stubs(interaction_ids)

    def drop_stubs(self, interaction_ids: Sequence[str], segment: str) -> int:
        """Delete the stubs that name `segment`; how many. Nobody can read these rows then."""
        return self._drop_stubs(interaction_ids, segment)

    def remove_expired(self, interactions: Sequence[ChatInteraction], until: datetime) -> int:
        """Delete hot interactions if they were created at or before `until`; how many."""
        return self._remove_expired(interactions, until)

    def remove_expired_stubs(self, until: datetime, limit: int) -> int:
        """Delete up to `limit` stubs of what was created at or before `until`; how many.

        0 where the database does so by itself (DynamoDB's TTL).
        """
        return self._remove_expired_stubs(until, limit)

    def hot_of_user(
        self, user_id: str, limit: int, before: Position | None = None
    ) -> list[ChatInteraction]:
        """The newest hot interactions of a user (before a time and id), expired ones among them.

        On DynamoDB one saved within the last second may be missing (the lag of an index).
        """
        found, _ = self._newest(Slice(user_id, limit, BEGINNING, before))
        return [from_record(record) for record in found]

    def erase_hot(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        """Delete a user's hot interactions, and have the cache confirm that it has none; how many.

        Raises CacheNotErased. Repeating it with the same interactions is safe, and needed then.
        """
        with self._erasing(interactions):
            return self._remove_of_user(interactions, user_id)

    def forget_user(self, user_id: str) -> dict[str, int]:
        """Delete what is kept of a user besides interactions; how much of each kind.

        That is what the cache has (here and in other processes) and the records of idempotency
        keys. Raises CacheNotErased.
        """
        return self._forget_user(user_id)

    def scrub(self) -> None:
        """See to it that nothing that was deleted is left in the files of the database.

        Nobody else can write meanwhile. Raises StorageUnavailable if something stands in the way;
        try again.
        """
        self._scrub()

    def scrub_seconds(self) -> float:
        """How long `scrub` takes, about."""
        return self._scrub_seconds()

    def describe(self) -> dict[str, str | int]:
        """Where the database is and, if that can be told, how large."""
        return self._describe()

    def reclaim(self) -> int:
        """Give some space on disk that nothing uses back to the system; how many bytes.

        0 once there is no more to give.
        """
        return self._reclaim()

    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        """Take a lock, or keep one's own, for so many seconds from now; whether it is one's own."""
        return self._take_lock(name, owner, seconds)

    def release_lock(self, name: str, owner: str) -> None:
        """Give a lock back, if it is one's own."""
        self._release_lock(name, owner)

    # Reading and deleting what is cold, as part of what every reader and writer does.

    def _cold(self, interaction_id: str) -> Stored | None:
        """An interaction that is not among the hot ones, if it is cold, or has just become hot."""
        stub = None
        for _ in range(ATTEMPTS):
            found = self._look(interaction_id)
            if not isinstance(found, Stub):
                return None if found is None else Stored(interaction=found)
            stub = found
            if stub.has_expired:
                return None
            archived = self._archived([stub]).get(interaction_id)
            if archived is not None:
                return Archived(interaction=archived)
        assert stub is not None
        self._check_lost(stub)
        return None

    def _check_lost(self, stub: Stub) -> None:
        """Where the archive has gone on since the database was restored, what it lacks is gone."""
        if not self.archive.files.folders():
            raise StorageUnavailable("The archive is empty. Is its disk mounted?")
        logger.error("The segment %s lacks an interaction that it should have.", stub.segment)

    def _cold_page(self, wanted: Slice) -> tuple[list[Record], Position | None]:
        """The records of a slice of what is cold, and where the next page goes on."""
        found, last = cold_lists.newest(self.archive, self._stubs, wanted)
        return [archived_record(each) for each in found], last

    def _archived(self, stubs: Sequence[Stub]) -> dict[str, ChatInteraction]:
        """The rows that stubs stand for, by id; without those that have changed over by now."""
        found: dict[str, ChatInteraction] = {}
        for segment, some in by_segment(stubs).items():
            wanted = [(stub.created_at, stub.interaction_id) for stub in some]
            found |= self.archive.find(segment, wanted)
        return found

    def _of_user(self, interaction_id: str, user_id: str | None) -> ChatInteraction | Stub | None:
        """What there is under an id if it is this user's (anyone's, if None)."""
        found = self._look(interaction_id)
        if user_id is None or found is None:
            return found
        if isinstance(found, ChatInteraction):
            return found if found.user_id == user_id else None
        stored = self._cold(interaction_id)
        return found if stored is not None and stored.interaction.user_id == user_id else None

    def _refuse_archived(self, interaction_id: str, user_id: str | None) -> bool:
        """Whether it has become hot meanwhile.

        Raises InteractionArchived if it is cold, and this user may know.
        """
        found = self._of_user(interaction_id, user_id)
        if isinstance(found, Stub) and not found.has_expired:
            raise InteractionArchived(interaction_id)
        return isinstance(found, ChatInteraction)

    def _delete_archived(self, interaction_id: str, user_id: str | None) -> bool | None:
        """Delete an interaction if it is cold; None if it has changed over meanwhile.

        Its bytes go with the next maintenance run.
        """
        stub = self._of_user(interaction_id, user_id)
        if stub is None or (isinstance(stub, Stub) and stub.has_expired):
            return False
        if isinstance(stub, ChatInteraction):
            return None
        self.archive.mark(stub.segment)
        if not self._drop_stubs([interaction_id], stub.segment):
            return None
        # A run may have compacted the segment in between, with the row, and taken the mark away.
        self.archive.mark(stub.segment)
        return True

    def _same_as_archived(
        self, interaction: ChatInteraction, taken: TakenByStub
    ) -> ChatInteraction:
        """The archived interaction that a creation repeats. Raises InteractionConflict."""
        stored = self._cold(taken.stub.interaction_id)
        if stored is None or not (taken.replayed or stored.interaction.same_content(interaction)):
            raise InteractionConflict(interaction.interaction_id)
        return stored.interaction

    def _compared(
        self, interactions: Sequence[ChatInteraction], outcomes: Sequence[Outcome | Stub]
    ) -> list[Outcome]:
        """Outcomes, after a look into the archive for those whose id is an archived one's."""
        stubs = [outcome for outcome in outcomes if isinstance(outcome, Stub)]
        archived = self._archived(stubs)

        def compared(interaction: ChatInteraction, outcome: Outcome | Stub) -> Outcome:
            if not isinstance(outcome, Stub):
                return outcome
            stored = archived.get(interaction.interaction_id)
            same = stored is not None and stored.same_content(interaction)
            return Outcome.UNCHANGED if same else Outcome.CONFLICT

        return [compared(*pair) for pair in zip(interactions, outcomes, strict=True)]
