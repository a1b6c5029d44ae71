"""When maintenance last ran, and how it ended, in the SQL database.

Kept in the table of locks: a run leaves a lock of this name that ended when the run began, and
another one that ended with the run, whose owner is its status.
"""

from datetime import UTC, datetime

from storage.models import Lock
from storage.records.runs import Ended
from storage.sqlite import locks

PREFIX = "last-run:"

PREFIX_OF_ENDS = "last-end:"


def record(alias: str, command: str, at: datetime) -> None:
    """Remember when a command last ran."""
    locks.put(alias, PREFIX + command, "", at)


def times(alias: str) -> dict[str, datetime]:
    """Returns when each command last ran, by its name."""
    known = Lock.objects.using(alias).filter(name__startswith=PREFIX)
    return {
        name.removeprefix(PREFIX): at.astimezone(UTC)
        for name, at in known.values_list("name", "until")
    }


def record_end(alias: str, command: str, ended: Ended) -> None:
    """Remember how a command last ended."""
    locks.put(alias, PREFIX_OF_ENDS + command, ended.status, ended.at)


def ends(alias: str) -> dict[str, Ended]:
    """Returns how each command last ended, by its name."""
    known = Lock.objects.using(alias).filter(name__startswith=PREFIX_OF_ENDS)
    return {
        name.removeprefix(PREFIX_OF_ENDS): Ended(at.astimezone(UTC), status)
        for name, at, status in known.values_list("name", "until", "owner")
    }
