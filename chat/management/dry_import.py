"""What an import would do."""

from collections.abc import Sequence
from hashlib import blake2b

from storage.interface import Storage
from storage.models import ChatInteraction
from storage.models.interaction import CONTENT_FIELDS
from storage.records.outcomes import Outcome


class DryStorage:
    """In place of a storage for `Import`: tells what saving would come to, and saves nothing.

    It has no other method of a storage on purpose: what it does not have cannot write. It keeps
    some 200 bytes for each new interaction, because a file may have one twice.
    """

    def __init__(self, storage: Storage) -> None:
        self.database = storage.database  # asked which archive is the right one
        self.archive = storage.archive
        self._storage = storage
        self._new: dict[bytes, bytes] = {}

    def create_interactions_sync(self, interactions: Sequence[ChatInteraction]) -> list[Outcome]:
        """The outcome for each, as if all before it had been saved."""
        return [self._outcome(interaction) for interaction in interactions]

    def erase_hot(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        """Nothing was saved that would have to go."""
        return 0

    def _outcome(self, interaction: ChatInteraction) -> Outcome:
        stored = self._storage.get_interaction_sync(interaction.interaction_id)
        if stored is not None:
            return Outcome.UNCHANGED if stored.same_content(interaction) else Outcome.CONFLICT
        content = _digest(*(str(getattr(interaction, name)) for name in CONTENT_FIELDS))
        before = self._new.setdefault(_digest(interaction.interaction_id), content)
        if before is content:
            return Outcome.CREATED
        return Outcome.UNCHANGED if before == content else Outcome.CONFLICT


def _digest(*texts: str) -> bytes:
    return blake2b("\0".join(texts).encode(), digest_size=16).digest()
