"""What hot storage keeps of an interaction that is in cold storage: a stub.

The stub is the truth: a row of the archive counts exactly if the stub of its id names its segment.
It holds no text and no user, and keeps the id taken.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from storage import expiry


class Stub(NamedTuple):
    """Where an archived interaction is."""

    interaction_id: str
    created_at: datetime
    segment: str
    """The segment of the archive that has it, such as `2026-10-23/0199f0c2-...`."""

    @property
    def has_expired(self) -> bool:
        """Whether the interaction must not be seen any more, and its id is free."""
        return expiry.has_expired(self.created_at)


class TakenByStub(Exception):
    """An id could not be given to a new interaction: an archived one has it.

    `replayed` tells that an earlier request with the same idempotency key made that one.
    """

    def __init__(self, stub: Stub, *, replayed: bool = False) -> None:
        super().__init__("The id is an archived interaction's.")
        self.stub = stub
        self.replayed = replayed


def by_segment(stubs: Sequence[Stub]) -> dict[str, list[Stub]]:
    """Stubs of the same segment together, which is then read once."""
    found: dict[str, list[Stub]] = {}
    for stub in stubs:
        found.setdefault(stub.segment, []).append(stub)
    return found
