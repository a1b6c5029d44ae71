"""Counting the usage of all days again, and comparing it with the roll-ups.

A day is counted at one moment, together with its roll-ups, and the difference is added to them. So
what is saved meanwhile may be counted before or after that: it stays exact, and nobody waits.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TypeVar

from chat.maintenance.policy import LATEST
from chat.maintenance.runs import Run
from storage import expiry
from storage.accounts import roll_ups
from storage.accounts.roll_ups import DayUsage, Numbers
from storage.compat import batched
from storage.database import Before, Overtaken
from storage.exceptions import ForeignTimes, StorageError, StorageUnavailable
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.cursors import Position, follows
from storage.records.pages import never

ROWS_AT_ONCE = 100
"""Rows in memory: at most 40 MB."""

ATTEMPTS = 5
"""Times that a day is counted, if another process counts changes of it in between."""

Found = tuple[ChatInteraction, str]
"""A row, and its tier."""

K = TypeVar("K")


class UsageDiffers(StorageError):
    """The roll-ups are not what is stored."""


@dataclass
class Rebuilt:
    """What a run of rebuild_usage has done; of a dry run, or with --verify, what it would do."""

    days: int = 0
    interactions: int = 0
    """Interactions that are there, hot and cold."""
    corrected: int = 0
    """Roll-ups, of a model or of a user with a model on a day, that were wrong."""
    remaining: int | None = None
    """Days."""


def rebuild(storage: Storage, run: Run, report: Rebuilt) -> None:
    """Count all days again, or go on where a run has stopped. Counts in `report` as it goes.

    Raises DamagedArchive: a day of which a segment cannot be read is not counted, nor are later
    ones.
    """
    done_until = None if run.dry_run else roll_ups.begin_rebuild()
    for day in _days(storage, done_until, run, report):
        if not run.dry_run:
            _complete_stubs(storage, day, run)
        corrections = _compared(storage, day, run, report)
        if not run.dry_run:
            roll_ups.add(day, corrections)
    if not run.dry_run:
        roll_ups.end_rebuild()


def rebuild_if_due(storage: Storage, run: Run) -> int:
    """Do so if roll-ups lack something, as after an upgrade. Returns the number of days."""
    report = Rebuilt()
    if not run.dry_run and roll_ups.is_rebuild_due():
        rebuild(storage, run, report)
    return report.days


def verify(storage: Storage, run: Run, report: Rebuilt) -> Iterator[str]:
    """Yield a line for each number of a roll-up that a full count does not confirm.

    Changes nothing. Raises DamagedArchive.
    """
    if roll_ups.is_rebuild_due():
        yield "The roll-ups are not complete yet: run rebuild_usage"
    for day in _days(storage, None, run, report):
        corrections = _compared(storage, day, run, report)
        yield from _lines(day, corrections)


def _lines(day: date, corrections: DayUsage) -> Iterator[str]:
    for model, numbers in sorted(corrections.models.items()):
        yield f"{day} {model}: {_in_words(numbers)}"
    for (_, model), numbers in sorted(corrections.users.items()):  # who it is, is nobody's business
        yield f"{day} {model}, one user: {_in_words(numbers)}"


def _in_words(numbers: Numbers) -> str:
    return ", ".join(f"{name} {numbers[name]:+}" for name in sorted(numbers))


def _days(storage: Storage, after: date | None, run: Run, report: Rebuilt) -> Iterator[date]:
    """The days that have anything, in their order. Counts them in `report`.

    Without those of which something has expired: a purge, and DynamoDB's TTL, which takes days,
    delete rows and stubs of these one after the other.
    """
    found = {*storage.archive.days(), *roll_ups.days(), *_hot_days(storage)}
    after = max(after or date.min, expiry.cutoff().date())
    days = sorted(day for day in found if day > after)
    for number, day in enumerate(days):
        report.remaining = len(days) - number
        run.step(report.days)
        yield day
        report.days += 1
    report.remaining = 0


def _hot_days(storage: Storage) -> Iterator[date]:
    after: Position | None = None
    while found := storage.oldest(LATEST, 1, after, never):
        day = found[0].created_at.astimezone(UTC).date()
        yield day
        end = _end(day), "\U0010ffff"
        if after is not None and end <= after:
            raise ForeignTimes  # it would come again and again
        after = end


def _complete_stubs(storage: Storage, day: date, run: Run) -> None:
    for segment in storage.archive.segments(day):
        for rows in batched(storage.archive.rows(segment), ROWS_AT_ONCE):
            run.check_time()
            storage.database.complete_stubs(rows, segment)


def _compared(storage: Storage, day: date, run: Run, report: Rebuilt) -> DayUsage:
    """What must be added to the roll-ups of a day."""
    for _ in range(ATTEMPTS):
        with suppress(Overtaken):
            stored, counted = _stored_and_counted(storage, day, run)
            break
    else:
        raise StorageUnavailable(
            f"Usage of {day} was counted by others again and again; try again."
        )
    report.interactions += sum(numbers["interactions"] for numbers in counted.models.values())
    models = _corrections(stored.models, counted.models)
    users = _corrections(stored.users, counted.users)
    report.corrected += len(models) + len(users)
    return DayUsage(models, users)


def _stored_and_counted(storage: Storage, day: date, run: Run) -> tuple[DayUsage, DayUsage]:
    """The roll-ups of a day, and what they should be, as of one moment.

    Where reads may see what was changed since, the day is read once more, with its ids: those that
    have changed count as what they were.
    """
    with storage.database.snapshot(day) as changed:
        stored, counted = roll_ups.of_day(day), DayUsage()
        for row, tier in _rows(storage, day, run):
            _count(counted, row, tier)
        if changed():
            found = {
                row.interaction_id: (_numbers_only(row), tier)
                for row, tier in _rows(storage, day, run)
            }
            counted = DayUsage()
            for row, tier in _as_it_was(found, changed()):
                _count(counted, row, tier)
    return stored, counted


def _rows(storage: Storage, day: date, run: Run) -> Iterator[Found]:
    for row in _hot(storage, day):
        run.check_time()
        yield row, "hot"
    for row in _cold(storage, day):
        run.check_time()
        yield row, "cold"


def _numbers_only(row: ChatInteraction) -> ChatInteraction:
    """A row without its text: a whole day of them is kept in memory."""
    row.message, row.response = "", row.response[:1]
    return row


def _as_it_was(found: dict[str, Found], before: Before) -> Iterator[Found]:
    for interaction_id, was in before.items():
        now = found.pop(interaction_id, None)
        if isinstance(was, ChatInteraction):
            found[interaction_id] = was, "hot"
        elif was is not None:  # a stub, which does not have all numbers
            if now is None or now[1] != "cold":
                raise Overtaken
            found[interaction_id] = now
    yield from found.values()


def _corrections(stored: dict[K, Numbers], counted: dict[K, Numbers]) -> dict[K, Numbers]:
    nothing: Numbers = Counter()
    found = {
        key: roll_ups.correction(stored.get(key, nothing), counted.get(key, nothing))
        for key in {*stored, *counted}
    }
    return {key: numbers for key, numbers in found.items() if numbers}


def _count(usage: DayUsage, row: ChatInteraction, tier: str) -> None:
    numbers = {
        "interactions": 1,
        "unanswered": int(row.response == ""),
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }
    usage.models.setdefault(row.model_used, Counter()).update(numbers | {tier: 1})
    usage.users.setdefault((row.user_id, row.model_used), Counter()).update(numbers)


def _hot(storage: Storage, day: date) -> Iterator[ChatInteraction]:
    after: Position = (datetime.combine(day, time.min, UTC), "")
    while page := storage.oldest(_end(day), ROWS_AT_ONCE, after, never):
        if not follows(page[-1].position, after):
            raise ForeignTimes
        yield from page
        after = page[-1].position


def _cold(storage: Storage, day: date) -> Iterator[ChatInteraction]:
    """Rows of the archive that count: those whose stub names their segment."""
    for segment in storage.archive.segments(day):
        for rows in batched(storage.archive.rows(segment), ROWS_AT_ONCE):
            stubs = storage.database.stubs([row.interaction_id for row in rows])
            for row in rows:
                stub = stubs.get(row.interaction_id)
                if stub is not None and stub.segment == segment:
                    yield row


def _end(day: date) -> datetime:
    """The last moment of a day."""
    return datetime.combine(day, time.max, UTC)
