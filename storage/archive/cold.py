"""Reading and deleting what is archived, as part of what every reader and writer does.

Cold interactions are read as hot ones are, but never changed, cached, or found as answers.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.archive import filtered, lists
from storage.archive.archive import Archive
from storage.archive.ownership import has_used_another
from storage.database import Database
from storage.exceptions import InteractionArchived, InteractionConflict, StorageUnavailable
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import Archived, Record, Stored, archived_record, to_record
from storage.records.outcomes import Outcome
from storage.records.pages import Slice, TextsOf, every
from storage.records.searches import Filters
from storage.records.stubs import Stub, TakenByStub, by_segment
from storage.records.texts import OBJECT

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a call is retried while the interaction moves between tiers."""


@dataclass(frozen=True)
class ColdStorage:
    """The archive, and the stubs in the database that say which of its rows count."""

    database: Database
    archive: Archive

    def read(self, interaction_id: str) -> Stored | None:
        """An interaction that was not among the hot ones: cold, or just become hot; or None."""
        stub = None
        for _ in range(ATTEMPTS):
            found = self.database.look(interaction_id)
            if not isinstance(found, Stub):
                return None if found is None else Stored.of(found)
            stub = found
            if stub.has_expired:
                return None
            archived = self._rows([stub]).get(interaction_id)
            if archived is not None:
                return Archived.of(archived)
        assert stub is not None
        self._report_missing(stub)
        return None

    def page(self, wanted: Slice) -> tuple[list[Record], Position | None]:
        """The records of a slice, and where the next page goes on; None on the last page."""
        found, last = lists.newest(self.archive, self.database.stubs, wanted)
        return [archived_record(interaction) for interaction in found], last

    def search(
        self, wanted: Slice, filters: Filters, at_most: int, deadline: float
    ) -> tuple[list[Record], Position | None]:
        """As `Database.search`, of the archive. Those that have become hot are among them."""
        if not filtered.may_reach(self.archive, wanted):
            return [], None
        look_at = self.database.look_at
        return filtered.search(self.archive, look_at, wanted, filters, at_most, deadline)

    def newest(self) -> Position:
        """A position behind which all is that is cold, as far as `filtered.may_reach` tells."""
        return filtered.newest(self.archive)

    def read_many(
        self, interaction_ids: Sequence[str], texts_of: TextsOf = every
    ) -> dict[str, Record]:
        """The records of hot and cold interactions, by id. For `texts_of`, see `Slice`."""
        seen = self.database.look_at(interaction_ids, texts_of)
        stubs = [stub for stub in seen.values() if isinstance(stub, Stub) and not stub.has_expired]
        found = {row_id: archived_record(row) for row_id, row in self._rows(stubs).items()}
        found |= _hot_records(seen)
        for stub in stubs:  # it has moved in between
            if stub.interaction_id not in found and (moved := self.read(stub.interaction_id)):
                found[stub.interaction_id] = _record_of(moved)
        return found

    def read_hot(self, interaction_ids: Sequence[str], texts_of: TextsOf) -> dict[str, Record]:
        """As `read_many`, without the cold ones: the archive is not asked."""
        return _hot_records(self.database.look_at(interaction_ids, texts_of))

    def refuse_change(self, interaction_id: str, user_id: str | None) -> bool:
        """Whether the interaction has become hot meanwhile, so that the change may be retried.

        Raises InteractionArchived if it is cold, and this user may know.
        """
        found = self._of_user(interaction_id, user_id)
        if isinstance(found, Stub) and not found.has_expired:
            raise InteractionArchived(interaction_id)
        return isinstance(found, ChatInteraction)

    def delete(self, interaction_id: str, user_id: str | None) -> bool | None:
        """Delete a cold interaction. False if there is none; None if it has moved meanwhile.

        Its bytes leave the archive with the next maintenance run. Raises StorageUnavailable.
        """
        stub = self._of_user(interaction_id, user_id)
        if stub is None or (isinstance(stub, Stub) and stub.has_expired):
            return False
        if isinstance(stub, ChatInteraction):
            return None
        self._refuse_other_archive()  # a mark would make it look like one that is mounted
        self.archive.mark(stub.segment)
        if not self.database.drop_stubs([interaction_id], stub.segment):
            return None
        # A run may have compacted the segment in between, with the row, and removed the mark.
        self.archive.mark(stub.segment)
        return True

    def repeated(self, interaction: ChatInteraction, taken: TakenByStub) -> ChatInteraction:
        """The cold interaction that a creation repeats. Raises InteractionConflict."""
        stored = self.read(taken.stub.interaction_id)
        if stored is None or not (taken.replayed or stored.interaction.same_content(interaction)):
            raise InteractionConflict(interaction.interaction_id)
        return stored.interaction

    def compared(
        self, interactions: Sequence[ChatInteraction], outcomes: Sequence[Outcome | Stub]
    ) -> list[Outcome]:
        """The outcomes of a batch; for ids of cold interactions by what the archive has."""
        stubs = [outcome for outcome in outcomes if isinstance(outcome, Stub)]
        archived = self._rows(stubs)
        for stub in stubs:
            if stub.interaction_id not in archived and (moved := self.read(stub.interaction_id)):
                archived[stub.interaction_id] = moved.interaction
        return [
            _repetition(interaction, archived.get(interaction.interaction_id))
            if isinstance(outcome, Stub)
            else outcome
            for interaction, outcome in zip(interactions, outcomes, strict=True)
        ]

    def _of_user(self, interaction_id: str, user_id: str | None) -> ChatInteraction | Stub | None:
        """What is under an id if it is this user's (anyone's, if None)."""
        found = self.database.look(interaction_id)
        if user_id is None or found is None:
            return found
        if isinstance(found, ChatInteraction):
            return found if found.user_id == user_id else None
        stored = self.read(interaction_id)
        return found if stored is not None and stored.user_id == user_id else None

    def _rows(self, stubs: Sequence[Stub]) -> dict[str, ChatInteraction]:
        """The rows that stubs name, by id; without those that have moved meanwhile."""
        found: dict[str, ChatInteraction] = {}
        for segment, stubs_of_it in by_segment(stubs).items():
            wanted = [(stub.created_at, stub.interaction_id) for stub in stubs_of_it]
            found |= self.archive.find(segment, wanted)
        return found

    def _report_missing(self, stub: Stub) -> None:
        """What the archive lacks is gone, where it is newer than a restored database."""
        self._refuse_other_archive()
        logger.error("The segment %s lacks an interaction that it should have.", stub.segment)

    def _refuse_other_archive(self) -> None:
        if not self.archive.days():  # it may have been given large texts, as if it were there
            raise StorageUnavailable("The archive is empty. Is its disk mounted?")
        if has_used_another(self.database, self.archive):
            raise StorageUnavailable("The archive is another one. Is the right disk mounted?")


def _hot_records(seen: Mapping[str, ChatInteraction | Stub]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for row_id, row in seen.items():
        if isinstance(row, ChatInteraction):
            found[row_id] = to_record(row)
            if OBJECT in row.__dict__:
                found[row_id][OBJECT] = row.__dict__[OBJECT]
    return found


def _record_of(stored: Stored) -> Record:
    to = archived_record if isinstance(stored, Archived) else to_record
    return to(stored.interaction)


def _repetition(interaction: ChatInteraction, stored: ChatInteraction | None) -> Outcome:
    same = stored is not None and stored.same_content(interaction)
    return Outcome.UNCHANGED if same else Outcome.CONFLICT
