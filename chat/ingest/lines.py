"""The line of the log that says what was left out: one a minute for each source, at most.

All processes together write one, with the numbers of all of them since the hour began.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from chat.ingest.reasons import NOTHING_LOST, Reason
from chat.ingest.sources import source_named
from storage.accounts import intake
from storage.accounts.intake import Count

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 60.0

WORTH_TELLING = {reason.label: reason for reason in Reason if reason not in NOTHING_LOST}


class Lines:
    """Which sources had something left out that no line has told of yet. For one thread."""

    def __init__(self) -> None:
        self._due: dict[tuple[str, datetime], float] = {}
        """By source and hour, from when on a line can be written (`time.monotonic`)."""

    @property
    def are_due_later(self) -> bool:
        """Whether a line is still to be written."""
        return bool(self._due)

    def counted(self, counts: Iterable[Count]) -> None:
        """Note what the hours in the database now have more."""
        for count in counts:
            if count.outcome in WORTH_TELLING and not source_named(count.source).is_file:
                self._due.setdefault((count.source, count.hour), time.monotonic())

    def write(self, now: datetime) -> None:
        """Log what is due. Raises StorageError."""
        for (source, hour), at in list(self._due.items()):
            if time.monotonic() < at:
                continue
            pause = timedelta(seconds=PAUSE_SECONDS)
            told = intake.tell(source, hour, WORTH_TELLING, now, pause)
            self._due[source, hour] = time.monotonic() + PAUSE_SECONDS
            if told.is_over:
                del self._due[source, hour]
            if told.is_due:
                logger.warning("%s", line(source, hour, told.totals))


def line(source: str, hour: datetime, totals: Mapping[str, int]) -> str:
    """What came in this hour, and why some of it was left out, with the remedies."""
    reasons = "; ".join(
        f"{label} {totals[label]}: {reason.remedy.rstrip('.')}"
        for label, reason in WORTH_TELLING.items()
        if label in totals
    )
    counts = ", ".join(
        f"{totals.get(outcome, 0)} {outcome}" for outcome in ("received", "kept", "unchanged")
    )
    return f"Intake from {source} since {hour:%H:%M} UTC: {counts}. Left out: {reasons}"
