"""Saves the calls of models that a tool reported in one request."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from chat.ingest.calls import LeftOut, Translated
from chat.ingest.erased import erasures_before, remove_erased, remove_saved
from chat.ingest.interactions import Made, interactions
from chat.ingest.reasons import Reason
from chat.maintenance.erasure.known import Erasures, remove_left
from storage import get_storage
from storage.exceptions import StorageError
from storage.models import ChatInteraction
from storage.records.outcomes import Outcome

BATCH_ITEMS = 1000
BATCH_BYTES = 16 * 1024 * 1024
"""Of text. At most so much is saved in one step: memory, and how long others wait to write."""


@dataclass(slots=True)
class Taken:
    """What has become of the calls in one request, or in one step of an import."""

    received: int = 0
    """Everything that the tool sent, what is no call of a model included."""
    created: int = 0
    unchanged: int = 0
    """Those that had been stored before."""
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[Reason]:
        """How many were left out, by reason."""
        return Counter(one.reason for one in self.left_out)


def keep(translated: Iterable[Translated], user_id: str | None) -> Taken:
    """Save what a tool reported, at most once each.

    `user_id` is that of a key that is bound to a user, whatever the calls say. Raises StorageError
    if not all could be saved: then sending all again is safe.
    """
    taken = Taken()
    accepted: list[Made] = []
    for one in interactions(translated, user_id):
        taken.received += 1
        if isinstance(one, LeftOut):
            taken.left_out.append(one)
        else:
            accepted.append(one)
    erasures = erasures_before((interaction for _, interaction in accepted), get_storage())
    if erasures is not None:
        remove_left(get_storage(), erasures, (interaction for _, interaction in accepted))
    for batch in _batches(_not_erased(accepted, erasures, taken)):
        try:
            created = _save(batch, taken)
        except StorageError:
            if erasures is not None:
                with suppress(StorageError):  # sending it again does it, too
                    remove_saved((each for _, each in batch), erasures, get_storage())
            raise
        if erasures is not None:
            _take_back(created, erasures, taken)
    return taken


def _not_erased(
    accepted: Sequence[Made], erasures: Erasures | None, taken: Taken
) -> Iterator[Made]:
    for call, interaction in accepted:
        if erasures is not None and erasures.cover(interaction):
            taken.left_out.append(LeftOut(Reason.ERASED, place=call.place))
        else:
            yield call, interaction


def _batches(accepted: Iterable[Made]) -> Iterator[list[Made]]:
    batch: list[Made] = []
    size = 0
    for made in accepted:
        text_bytes = made[1].text_bytes
        if batch and (len(batch) == BATCH_ITEMS or size + text_bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(made)
        size += text_bytes
    if batch:
        yield batch


def _save(batch: Sequence[Made], taken: Taken) -> list[Made]:
    """Save a batch. Returns what was not there before."""
    created = []
    outcomes = get_storage().create_interactions_sync([interaction for _, interaction in batch])
    for (call, interaction), outcome in zip(batch, outcomes, strict=True):
        if outcome is Outcome.CREATED:
            taken.created += 1
            created.append((call, interaction))
        elif outcome is Outcome.UNCHANGED or is_stored(interaction):
            taken.unchanged += 1
        else:
            taken.left_out.append(LeftOut(Reason.CONFLICT, place=call.place))
    return created


def _take_back(created: Sequence[Made], erasures: Erasures, taken: Taken) -> None:
    made = (interaction for _, interaction in created)
    erased = remove_erased(made, erasures, get_storage())
    for call, interaction in created:
        if interaction.interaction_id in erased:
            taken.created -= 1
            taken.left_out.append(LeftOut(Reason.ERASED, place=call.place))


SAME = ("user_id", "message", "response", "model_used")


def is_stored(interaction: ChatInteraction) -> bool:
    """Whether only the tokens differ from what is stored.

    An answer that comes again without the steps of its turn, or with them, has others.
    """
    stored = get_storage().get_interaction_sync(interaction.interaction_id)
    return stored is not None and all(
        getattr(stored, name) == getattr(interaction, name) for name in SAME
    )
