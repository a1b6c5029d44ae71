"""The report of an audit of the cache."""

import statistics
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What an entry of the cache is."""

    INTERACTION = "interaction"
    ANSWER = "answer"
    OUTDATED_ANSWER = "outdated_answer"
    """Its interaction no longer answers that message. Readers notice this, and drop it."""
    OUTDATED = "outdated"
    """It was cached before an outage of the cache server. Readers notice this, and drop it."""
    STRING = "string"
    LEASE = "lease"
    MARK = "mark"
    UNFIT = "unfit"
    """This project did not write it, or not under this key."""


VALUES = (Kind.INTERACTION, Kind.ANSWER, Kind.OUTDATED_ANSWER)


class Difference(NamedTuple):
    """An entry that differs from the database. It can be shown: it names no user and no text."""

    key: str
    kind: Kind
    interaction_id: str
    """Empty if the entry has none."""


@dataclass
class Audit:
    """What an audit has found."""

    entries: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    differences: list[Difference] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    """The ages of the values in seconds."""

    def count(self, kind: Kind, age: float | None) -> None:
        """Count an entry, and keep its age if it is a value."""
        self.entries[kind] += 1
        if kind in VALUES and age is not None:
            self.ages.append(age)

    @property
    def oldest(self) -> float:
        """The age of the oldest value in seconds, 0 without any."""
        return max(self.ages, default=0.0)

    @property
    def median(self) -> float:
        """The median age of the values in seconds, 0 without any."""
        return statistics.median(self.ages) if self.ages else 0.0
