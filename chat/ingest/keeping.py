"""Makes interactions of the calls of models, and saves them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chat.ingest.calls import LeftOut, Translated
from chat.ingest.reasons import Reason


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
    raise NotImplementedError
