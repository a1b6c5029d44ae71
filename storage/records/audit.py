"""What an audit of the cache reports."""

import statistics
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What there can be under a key of this project's."""

    INTERACTION = "interaction"
    ANSWER = "answer"
    OUTDATED_ANSWER = "outdated_answer"
    """It names what is no answer to that message any more. Readers see that, and drop it."""
    STRING = "string"
    LEASE = "lease"
    MARK = "mark"
    UNFIT = "unfit"
    """Nothing of ours, or not under the key where it belongs."""


class Difference(NamedTuple):
    """An entry that is not what the database has; as it may be shown, without user and text."""

    key: str
    kind: Kind
    interaction_id: str
    """Empty if the entry does not tell."""


@dataclass
class Audit:
    """What an audit has found."""

    entries: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    differences: list[Difference] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    """Of cached values, in seconds."""

    @property
    def oldest(self) -> float:
        """Seconds; 0 without any."""
        return max(self.ages, default=0.0)

    @property
    def median(self) -> float:
        """Seconds; 0 without any."""
        return statistics.median(self.ages) if self.ages else 0.0
