"""Writing rows to a storage exactly as another one has them, with both times."""

from collections.abc import Sequence

from chat.maintenance.migration.comparing import PAGE, Row
from chat.maintenance.migration.report import Copied
from storage import expiry
from storage.exceptions import BatchUnfinished, InvalidInteractions
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.json import to_json
from storage.records.outcomes import Outcome

BATCH_BYTES = 8 * 1024 * 1024
"""Text in one batch, about."""


class _TargetWriter:
    """Writes to a target that nobody else writes to."""

    def __init__(self, target: Storage, report: Copied) -> None:
        self._target = target
        self._report = report
        self._batch: list[Row] = []
        self._bytes = 0

    def _add(self, row: Row) -> None:
        self._batch.append(row)
        self._bytes += row.interaction.text_bytes

    def _taken(self) -> list[Row]:
        batch, self._batch, self._bytes = self._batch, [], 0
        return batch

    def _create(self, interactions: Sequence[ChatInteraction]) -> None:
        """Create rows in the target. If an id exists there, the two are compared."""
        for interaction, outcome in self._created(interactions):
            if outcome is Outcome.CREATED:
                self._report.copied += 1
            else:
                self._settle(interaction)

    def _created(
        self, interactions: Sequence[ChatInteraction]
    ) -> list[tuple[ChatInteraction, Outcome]]:
        unfinished = len(interactions) + 1
        while unexpired := [each for each in interactions if not _has_expired(each)]:
            try:
                outcomes = self._target.create_interactions_sync(unexpired)
                return list(zip(unexpired, outcomes, strict=True))
            except InvalidInteractions:
                if not any(map(_has_expired, unexpired)):
                    raise
            except BatchUnfinished as error:  # large ones take more than one call
                if len(error.interaction_ids) >= unfinished:
                    raise
                unfinished = len(error.interaction_ids)
        return []

    def _settle(self, interaction: ChatInteraction) -> None:
        """Replace the interaction that has this id in the target, if it is different."""
        found = self._target.get_interaction_sync(interaction.interaction_id)
        if found is not None and to_json(found) != to_json(interaction):
            self._replace(interaction)

    def _replace(self, interaction: ChatInteraction) -> None:
        """Delete and create. If only the first happens, the next pass finds the row missing."""
        self._target.delete_interaction_sync(interaction.interaction_id)
        outcomes = [outcome for _, outcome in self._created([interaction])]
        self._report.replaced += outcomes == [Outcome.CREATED]


class HotWriter(_TargetWriter):
    """Writes hot rows, in batches."""

    def __init__(self, source: Storage, target: Storage, report: Copied, batch_size: int) -> None:
        super().__init__(target, report)
        self._source = source
        self._batch_size = batch_size

    def put(self, row: Row) -> None:
        """Write a row that the target does not have, at the latest when `flush` is called."""
        self._add(row)
        if len(self._batch) == self._batch_size or self._bytes > BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were put and not written yet."""
        if batch := self._taken():
            self._create([row.interaction for row in batch])

    def replace(self, row: Row) -> None:
        """Replace a row that is different in the target."""
        self._replace(row.interaction)

    def remove(self, row: Row) -> None:
        """Remove a row that only the target seems to have, unless the source has it after all."""
        interaction_id = row.interaction.interaction_id
        original = self._source.get_interaction_sync(interaction_id)
        if original is None:
            self._report.deleted += self._target.delete_interaction_sync(interaction_id)
        elif original.created_at != row.interaction.created_at:
            # Deleted, and created again under the same id.
            self._replace(original)
        # Else the source's index lagged, or it was archived just now: the next pass decides.


class ColdWriter(_TargetWriter):
    """Writes rows that the archive has: they are created, and then replaced by stubs."""

    def put(self, row: Row) -> None:
        """Write a row that is not cold in the target, together with others of its segment."""
        if self._batch and (self._batch[0].segment != row.segment or len(self._batch) == PAGE):
            self.flush()
        self._add(row)

    def flush(self) -> None:
        """Write the rows that were put and not written yet."""
        if batch := self._taken():
            interactions = [row.interaction for row in batch]
            self._create(interactions)
            moved = self._target.move_to_cold(interactions, batch[0].segment)
            self._report.archived += moved


def _has_expired(interaction: ChatInteraction) -> bool:
    return expiry.has_expired(interaction.created_at)
