"""Whether the clock of this machine can be believed by a run that deletes what is old.

That is deleted for good, and the clock says how old it is. So a run that purges, or deletes expired
backups, first compares the clock with something else:

- with the clock of a server, if there is one: DynamoDB's, or that of the archive's bucket;
- otherwise with what the store itself knows: interactions and earlier runs. Between
  them and now, no more than two days passed without a trace. A clock that was set ahead leaves a
  gap, also if users go on writing with it.

A clock that is behind deletes nothing that it should not, and is not refused.
"""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from storage import expiry
from storage.exceptions import StorageError
from storage.expiry import BEGINNING
from storage.interface import Storage
from storage.records.pages import Slice, never

CREDIBLE = timedelta(days=2)
"""The longest time without a trace, and the most that the clock may be ahead of a server's."""

REMEDY = (
    "Nothing was done. Check the clock of this machine. If it is right, as after a pause of more "
    "than two days or for data that was imported, run it once with --yes."
)


class ClockNotBelieved(StorageError):
    """The clock may be ahead, and what is deleted by age would be gone. The message says why."""


def check(storage: Storage, now: datetime, is_due: Callable[[], bool]) -> None:
    """Raise ClockNotBelieved if the clock, which says `now`, may be ahead.

    A first run, of which nothing is known, may have been preceded by a pause: it is refused only
    if it would delete something.
    """
    problem = problem_of(storage, now)
    if problem and (storage.database.last_runs() or is_due()):
        raise ClockNotBelieved(f"{problem} {REMEDY}")


def problem_of(storage: Storage, now: datetime) -> str | None:
    """Returns why the clock may be ahead, or None. Reads a row or two for every two days."""
    server = server_time(storage)
    if server is not None:
        if now - server <= CREDIBLE:
            return None
        return f"The clock says {_text(now)}, and the server's {_text(server)}."
    since = _last_gap(storage, now)
    if since is None or now - since <= CREDIBLE:
        return None
    return (
        f"The clock says {_text(now)}, but after {_text(since)} no interaction was saved and no "
        "command has run for more than two days."
    )


def server_time(storage: Storage) -> datetime | None:
    """What a server's clock says: the database's, or else the archive's. None without a server."""
    return storage.database.server_time() or storage.archive.files.server_time()


def record_run(storage: Storage, command: str, now: datetime, *, confirmed: bool) -> None:
    """Remember that a command has run, as a trace for later runs, if the clock is believed.

    The time goes back only if an operator has confirmed it: a clock that is behind for a day must
    not make the right one look as if it were ahead.
    """
    known = storage.database.last_runs().get(command, now)
    if confirmed or (known <= now and problem_of(storage, now) is None):
        storage.database.record_run(command, now)


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}Z"


def _last_gap(storage: Storage, now: datetime) -> datetime | None:
    """The time after which there is no trace for more than two days; None if there is no gap.

    Goes back to the last run. Without one, which happens only before the first, the newest
    interaction has to do.
    """
    runs = (at for at in storage.database.last_runs().values() if at <= now)
    last_run = max(runs, default=None)
    if last_run is None:
        return _newest(storage, now)
    trace = now
    while trace - last_run > CREDIBLE:
        until, after = trace - expiry.MICROSECOND, (trace - CREDIBLE, "")
        page = storage.database.oldest(until, 1, after, never)
        if not page:
            return max(last_run, _newest_hot(storage, trace) or last_run)
        trace = page[0].created_at
    return None


def _newest(storage: Storage, now: datetime) -> datetime | None:
    days = [day for day in storage.archive.days() if day <= now.date()]
    archived = [datetime.combine(day, time.max, UTC) for day in days[-1:]]
    hot = _newest_hot(storage, now)
    return max([*archived, *([hot] if hot else [])], default=None)


def _newest_hot(storage: Storage, before: datetime) -> datetime | None:
    """When the newest hot interaction before a moment was created; None if there is none."""
    page = storage.database.newest_interactions(
        Slice(None, 1, BEGINNING, created_before=before, texts_of=never)
    )
    return page[0].created_at if page else None
