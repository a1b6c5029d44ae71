"""What came in during the last hours, by source, for the admin and the command."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from chat.ingest.counts import KEPT, UNCHANGED
from chat.ingest.reasons import NOTHING_LOST, Reason
from chat.ingest.remedies import Snippet, snippet
from chat.ingest.sources import source_named
from storage.accounts import intake
from storage.accounts.intake import Total

REASONS = {reason.label: reason for reason in Reason}


@dataclass(frozen=True)
class LeftOutFor:
    """How many were left out for one reason, and what to do about it."""

    label: str
    count: int
    remedy: str
    snippet: Snippet | None
    is_expected: bool
    """Whether there is nothing to do about it."""

    @property
    def title(self) -> str:
        """The reason in words."""
        return self.label.replace("_", " ").capitalize()


@dataclass(frozen=True)
class FromSource:
    """What a tool has sent, and what became of it."""

    title: str
    received: int
    kept: int
    unchanged: int
    left_out: list[LeftOutFor]
    """What can be put right comes first, then the most frequent."""
    last_at: datetime

    @property
    def left_out_count(self) -> int:
        """How many were left out, for all reasons together."""
        return sum(reason.count for reason in self.left_out)


def since(hours: int, now: datetime) -> datetime:
    """The first moment of the hour in which the last `hours` hours began."""
    return intake.hour_of(now - timedelta(hours=hours))


def summary(hours: int, now: datetime) -> list[FromSource]:
    """What came since then, with the source that was heard of last first. Raises StorageError."""
    totals = intake.totals(since(hours, now))
    found = [
        _from_source(source, list(of_source))
        for source, of_source in groupby(totals, key=attrgetter("source"))
    ]
    return sorted(found, key=attrgetter("last_at"), reverse=True)


def _from_source(source: str, totals: list[Total]) -> FromSource:
    counts = {total.outcome: total.count for total in totals}
    received, kept, unchanged = (
        counts.pop(outcome, 0) for outcome in ("received", KEPT, UNCHANGED)
    )
    left_out = sorted(_left_out(source, counts), key=lambda one: (one.is_expected, -one.count))
    last_at = max(total.last_at for total in totals)
    return FromSource(source_named(source).title, received, kept, unchanged, left_out, last_at)


def _left_out(source: str, counts: dict[str, int]) -> Iterator[LeftOutFor]:
    for label, count in counts.items():
        reason = REASONS.get(label)
        if reason is None:  # another version has counted it
            yield LeftOutFor(label, count, "", None, is_expected=False)
        else:
            is_expected = reason in NOTHING_LOST
            found = snippet(source, reason)
            yield LeftOutFor(label, count, reason.remedy, found, is_expected)
