"""Writing rows to a storage exactly as another one has them, with both times."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chat.maintenance.erasure.known import Erasures
from storage import expiry
from storage.exceptions import BatchUnfinished, InvalidInteractions
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.json import to_json
from storage.records.outcomes import Outcome

BATCH_BYTES = 8 * 1024 * 1024
"""Text in one batch, about."""


@dataclass
class Copied:
    """What a run of migrate_storage has done."""

    copied: int = 0
    """Rows written that the target did not have, hot and cold."""
    replaced: int = 0
    """Rows written in place of different ones."""
    deleted: int = 0
    """Rows and stubs that only the target had."""
    archived: int = 0
    """Of the rows written, those that are now cold in the target."""
    segments: int = 0
    """Segments copied from one archive to the other."""
    passes: int = 0
    expired: int = 0
    """Rows past the retention cutoff that are not deleted yet. They are not copied."""
    erased: int = 0
    """Rows whose users were erased after the rows were created. They are not copied."""
    rows: int = 0
    """Rows that both had in the last pass."""
    days: int = 0
    """The number of days (UTC) on which these rows were created."""
    sha256: str = ""
    """Of the counts and hashes of all days."""
    differing: list[str] = field(default_factory=list)
    """Days and tiers that differed in the last pass."""
    handed_over: bool = False
    remaining: int | None = None
    """Differences that the last pass found."""


class Writer:
    """Writes to a target that nobody else writes to. Hot rows are written in batches."""

    def __init__(
        self,
        source: Storage,
        target: Storage,
        report: Copied,
        batch_size: int,
        erasures: Erasures | None,
    ) -> None:
        self._source = source
        self._target = target
        self._report = report
        self._batch_size = batch_size
        self._erasures = erasures
        self._batch: list[ChatInteraction] = []
        self._bytes = 0

    def put(self, interaction: ChatInteraction) -> None:
        """Write a hot row that the target does not have, at the latest when `flush` is called."""
        self._batch.append(interaction)
        self._bytes += interaction.text_bytes
        if len(self._batch) == self._batch_size or self._bytes > BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were put and not written yet."""
        batch, self._batch, self._bytes = self._batch, [], 0
        if batch:
            self._create(batch)

    def put_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> None:
        """Write rows that `segment` of the archive has: they are created, and become stubs."""
        self._create(interactions)
        self._report.archived += self._target.move_to_cold(interactions, segment)

    def replace(self, interaction: ChatInteraction) -> None:
        """Delete and create. If only the first happens, the next pass finds the row missing."""
        self._target.delete_interaction_sync(interaction.interaction_id)
        outcomes = [outcome for _, outcome in self._created([interaction])]
        self._report.replaced += outcomes == [Outcome.CREATED]

    def remove(self, interaction: ChatInteraction) -> None:
        """Remove a row that only the target seems to have, unless the source has it after all."""
        interaction_id = interaction.interaction_id
        original = self._source.get_interaction_sync(interaction_id)
        if original is None or (self._erasures is not None and self._erasures.cover(original)):
            self._report.deleted += self._target.delete_interaction_sync(interaction_id)
        elif original.created_at != interaction.created_at:
            # Deleted, and created again under the same id.
            self.replace(original)
        # Else the source's index lagged, or it was archived just now: the next pass decides.

    def _create(self, interactions: Sequence[ChatInteraction]) -> None:
        """Create rows in the target. If an id exists there with other content, replace that row."""
        for interaction, outcome in self._created(interactions):
            if outcome is Outcome.CREATED:
                self._report.copied += 1
                continue
            found = self._target.get_interaction_sync(interaction.interaction_id)
            if found is not None and to_json(found) != to_json(interaction):
                self.replace(interaction)

    def _created(
        self, interactions: Sequence[ChatInteraction]
    ) -> list[tuple[ChatInteraction, Outcome]]:
        unfinished = len(interactions) + 1
        while unexpired := [each for each in interactions if not _has_expired(each)]:
            try:
                outcomes = self._target.copy_interactions(unexpired)
                return list(zip(unexpired, outcomes, strict=True))
            except InvalidInteractions:
                if not any(map(_has_expired, unexpired)):
                    raise
            except BatchUnfinished as error:  # large ones take more than one call
                if len(error.interaction_ids) >= unfinished:
                    raise
                unfinished = len(error.interaction_ids)
        return []


def _has_expired(interaction: ChatInteraction) -> bool:
    return expiry.has_expired(interaction.created_at)
