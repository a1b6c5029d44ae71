"""When maintenance last ran, in the SQL database.

Kept in the table of locks: a run leaves a lock of this name that ended when the run began.
"""

from datetime import UTC, datetime

from storage.models import Lock

PREFIX = "last-run:"


def record(alias: str, command: str, at: datetime) -> None:
    """Remember when a command last ran."""
    Lock.objects.using(alias).update_or_create(
        name=PREFIX + command, defaults={"owner": "", "until": at}
    )


def times(alias: str) -> dict[str, datetime]:
    """Returns when each command last ran, by its name."""
    known = Lock.objects.using(alias).filter(name__startswith=PREFIX)
    return {
        name.removeprefix(PREFIX): at.astimezone(UTC)
        for name, at in known.values_list("name", "until")
    }
