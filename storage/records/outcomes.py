"""What becomes of an interaction that is created."""

from enum import StrEnum


class Outcome(StrEnum):
    """What became of one interaction of `create_interactions`."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
