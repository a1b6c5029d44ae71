"""What a user asked before and after an interaction, hot or cold, in a bounded number of reads."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from storage import expiry
from storage.archive.cold import ColdStorage
from storage.models import ChatInteraction
from storage.records.json import from_record
from storage.records.pages import PAGE_TEXT, Slice, never

COLD_AT_ONCE = 20
"""Rows of the archive in one read. It returns the newest first, but the oldest is wanted."""

COLD_READS = 16

FIRST_PERIOD = timedelta(days=1)
WIDENED = 8


@dataclass(frozen=True)
class Neighbours:
    """The interactions of the same user before and after one; None if there is none.

    Large texts of hot ones are not fetched: Note [Stand-ins] in `storage.large.stand_ins`.
    `is_next_known` is False if so many were archived of this user within seconds that finding the
    next one would take more than a bounded number of reads.
    """

    previous: ChatInteraction | None = field(repr=False)
    next: ChatInteraction | None = field(repr=False)
    is_next_known: bool = True


class _Unknown(Exception):
    """The next cold interaction was not found in COLD_READS reads."""


def neighbours_of(cold: ColdStorage, interaction: ChatInteraction) -> Neighbours:
    """See `Storage.neighbours_sync`."""
    newest_day = max(cold.archive.days(), default=date.min)
    previous = _previous(cold, interaction, newest_day)
    try:
        return Neighbours(previous, _next(cold, interaction, newest_day))
    except _Unknown:
        return Neighbours(previous, None, is_next_known=False)


def _previous(
    cold: ColdStorage, interaction: ChatInteraction, newest_day: date
) -> ChatInteraction | None:
    user_id, before = interaction.user_id, interaction.position
    since = expiry.cutoff() + expiry.MICROSECOND
    found = cold.database.newest_interactions(Slice(user_id, 1, since, before, texts_of=never))
    if found:
        since = found[0].created_at
    if since.date() <= newest_day:
        found += map(from_record, cold.page(Slice(user_id, 1, since, before))[0])
    return max(found, key=_position, default=None)


def _next(
    cold: ColdStorage, interaction: ChatInteraction, newest_day: date
) -> ChatInteraction | None:
    hot = cold.database.next_of_user(interaction.user_id, interaction.position)
    archived = None
    if interaction.created_at.date() <= newest_day:
        latest = expiry.latest()  # nothing later is archived
        until = latest if hot is None else min(hot.created_at, latest)
        archived = _next_cold(cold, interaction, until + expiry.MICROSECOND)
    return min(filter(None, (hot, archived)), key=_position, default=None)


def _next_cold(
    cold: ColdStorage, interaction: ChatInteraction, until: datetime
) -> ChatInteraction | None:
    """The next cold one that was created before `until`. Raises _Unknown.

    Looks at longer and longer periods until some are in one; then, if these are too many to read,
    at halves of it.
    """
    begin = max(interaction.created_at, expiry.cutoff() + expiry.MICROSECOND)
    end = until
    period, is_within = FIRST_PERIOD, False
    for _ in range(COLD_READS):
        before = min(begin + period, end)
        wanted = Slice(interaction.user_id, COLD_AT_ONCE, begin, None, before, PAGE_TEXT)
        records, more = cold.page(wanted)
        newer = [row for row in map(from_record, records) if row.position > interaction.position]
        if more is None and newer:
            return newer[-1]
        if more is not None:
            end, is_within = before, True
        elif before == until:
            return None
        else:
            begin = before
        period = (end - begin) / 2 if is_within else period * WIDENED
    raise _Unknown


def _position(interaction: ChatInteraction) -> tuple[datetime, str]:
    return interaction.position
