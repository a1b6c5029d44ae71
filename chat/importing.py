"""Saving interactions that come from a file, in steps, whatever the format of the file."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from chat.maintenance.erasure.known import Erasures, remove_left
from chat.maintenance.identity import check_archive
from storage import expiry
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.outcomes import Outcome

STEP = 500
"""Interactions saved in one step. An import that is interrupted has saved whole steps."""

STEP_BYTES = 16_000_000
"""Of text in one step, after which it ends."""

Placed = tuple[str, ChatInteraction]
"""An interaction and its place in the file, such as `line 3`."""


class Import:
    """Saves interactions, except those of users who were erased after they were created.

    What exists already is not changed. `tell` is called with the place of what was not saved, and
    the reason as a sentence. `is_same` says whether what is stored under an id counts as the same,
    although it differs.
    """

    def __init__(
        self,
        storage: Storage,
        tell: Callable[[str, str], None],
        *,
        even_if_erased: bool = False,
        is_same: Callable[[ChatInteraction], bool] = lambda _: False,
    ) -> None:
        self.counts = Counter(created=0, unchanged=0, conflict=0, erased=0)
        """What has become of the interactions so far."""
        self._storage = storage
        self._tell = tell
        self._is_same = is_same
        self._even_if_erased = even_if_erased
        self._erasures: Erasures | None = None

    def steps(self, interactions: Iterable[Placed]) -> Iterator[None]:
        """Save the interactions, and yield after each step. Raises StorageError.

        Steps that are done stay done. Saving everything again is safe. Raises ArchiveMismatch if
        the storage's archive has the erasures of another database, and UnknownKey.
        """
        if not self._even_if_erased:
            check_archive(self._storage, adopt=True)
            self._erasures = Erasures(expiry.cutoff(), self._storage.archive)
        for step in _steps(interactions):
            left = list(self._not_erased(step))
            if self._erasures is not None and len(left) < len(step):
                remove_left(self._storage, self._erasures, (each for _, each in step))
            self._save(left)
            yield

    def _save(self, step: Sequence[Placed]) -> None:
        interactions = [interaction for _, interaction in step]
        try:
            saved = self._storage.create_interactions_sync(interactions)
            outcomes = list(map(self._outcome, interactions, saved))
        except StorageError:
            with suppress(StorageError):  # saving the step again does it, too
                self._take_back_saved(interactions)
            raise
        self.counts.update(outcome.value for outcome in outcomes)
        for (place, interaction), outcome in zip(step, outcomes, strict=True):
            if outcome is Outcome.CONFLICT:
                self._tell(
                    place,
                    f"interaction_id {interaction.interaction_id} exists with other content; it "
                    "was left as it is.",
                )
        self._take_back(step, outcomes)

    def _outcome(self, interaction: ChatInteraction, outcome: Outcome) -> Outcome:
        is_same = outcome is Outcome.CONFLICT and self._is_same(interaction)
        return Outcome.UNCHANGED if is_same else outcome

    def _not_erased(self, step: Sequence[Placed]) -> Iterator[Placed]:
        for place, interaction in step:
            if self._erasures is not None and self._erasures.cover(interaction):
                self._leave_out(place)
            else:
                yield place, interaction

    def _take_back(self, step: Sequence[Placed], outcomes: Sequence[Outcome]) -> None:
        """Delete what was saved of users whose erasure began, and maybe ended, meanwhile.

        An erasure that is not requested by now will find these rows itself.
        """
        erasures = self._erasures
        if erasures is None or not erasures.look():
            return
        for (place, interaction), outcome in zip(step, outcomes, strict=True):
            if outcome is Outcome.CREATED and erasures.cover(interaction):
                self._storage.erase_hot([interaction], interaction.user_id)
                self.counts[outcome.value] -= 1
                self._leave_out(place)

    def _take_back_saved(self, interactions: Sequence[ChatInteraction]) -> None:
        """As `_take_back`, of a step of which only a part may have been saved."""
        if self._erasures is not None and self._erasures.look():
            remove_left(self._storage, self._erasures, interactions)

    def _leave_out(self, place: str) -> None:
        self.counts["erased"] += 1
        self._tell(
            place,
            "its user was erased after it was created; it was left out. If it has to be imported "
            "all the same: --even-if-erased",
        )


def _steps(interactions: Iterable[Placed]) -> Iterator[list[Placed]]:
    step: list[Placed] = []
    text_bytes = 0
    for placed in interactions:
        step.append(placed)
        text_bytes += placed[1].text_bytes
        if len(step) == STEP or text_bytes >= STEP_BYTES:
            yield step
            step, text_bytes = [], 0
    if step:
        yield step
