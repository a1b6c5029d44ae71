"""Stubs: the pointers that hot storage keeps to cold interactions.

The stub decides: a row of the archive is valid only if the stub of its id names its segment. A stub
has no text and no user, and keeps its id taken.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from storage import expiry


class Stub(NamedTuple):
    """A pointer to an archived interaction."""

    interaction_id: str
    created_at: datetime
    segment: str
    """The segment of the archive that contains it, such as `2026-10-23/0199f0c2-...`."""

    @property
    def has_expired(self) -> bool:
        """Whether the interaction has expired, so that its id is free."""
        return expiry.has_expired(self.created_at)


class TakenByStub(Exception):
    """The id belongs to an archived interaction, so no new one can have it.

    `replayed` is True if an earlier request with the same idempotency key created that interaction.
    """

    def __init__(self, stub: Stub, *, replayed: bool = False) -> None:
        super().__init__("The id is an archived interaction's.")
        self.stub = stub
        self.replayed = replayed


Segments = str | Mapping[str, str]
"""One segment for all of some interactions, or the segment of each by its id."""


def segment_of(segments: Segments, interaction_id: str) -> str:
    """The segment of one of the interactions."""
    return segments if isinstance(segments, str) else segments[interaction_id]


def by_segment(stubs: Sequence[Stub]) -> dict[str, list[Stub]]:
    """Returns the stubs by segment, so that each segment is read only once."""
    found: dict[str, list[Stub]] = {}
    for stub in stubs:
        found.setdefault(stub.segment, []).append(stub)
    return found
