"""The outcome of creating an interaction."""

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome for one interaction of `create_interactions`."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
