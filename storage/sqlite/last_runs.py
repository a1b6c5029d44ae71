"""When maintenance last ran, and how it ended, in the SQL database.

Kept in the table of locks: a run leaves a lock of this name that ended when the run began, and
another one that ended with the run, whose owner is its status.
"""

from datetime import datetime

from storage.records.runs import Ended
from storage.sqlite import locks

PREFIX = "last-run:"

PREFIX_OF_ENDS = "last-end:"


def record(alias: str, command: str, at: datetime) -> None:
    """Remember when a command last ran."""
    locks.put(alias, PREFIX + command, "", at)


def times(alias: str) -> dict[str, datetime]:
    """Returns when each command last ran, by its name."""
    return {command: at for command, _, at in locks.beginning_with(alias, PREFIX)}


def record_end(alias: str, command: str, ended: Ended) -> None:
    """Remember how a command last ended."""
    locks.put(alias, PREFIX_OF_ENDS + command, ended.status, ended.at)


def ends(alias: str) -> dict[str, Ended]:
    """Returns how each command last ended, by its name."""
    rows = locks.beginning_with(alias, PREFIX_OF_ENDS)
    return {command: Ended(at, status) for command, status, at in rows}
