"""Whose copy a storage is: so that a run that copies deletes nothing that is not a copy.

# Note [What may be overwritten]

To make a copy equal, rows are replaced and deleted in it. That is right only where nothing but
copies was ever written: else it would undo what users did since they were moved over, or destroy
other data. So a document in the archive of the target says, from before the first write, from where
it is being copied, and at the end what was copied. A run that finds

- nothing in the target begins a copy;
- nothing in the source, but in the target, refuses: it may be the wrong file;
- no document for this source and target, but interactions, refuses;
- a copy that was finished goes on only if the target is still, day by day, what it was then;
- a copy that was not goes on unless interactions are there that are newer than the last sign of
  life of its run, and that the source has not. Nobody uses an unfinished copy, but somebody may by
  mistake.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone

from chat.maintenance.migration.comparing import (
    LATEST,
    PAGE,
    Digest,
    Step,
    StubDigest,
    differing,
    hot_rows,
)
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.records.json import format_time

FOLDER = "copies"

SIGN_OF_LIFE_SECONDS = 10.0

LATENESS = timedelta(seconds=60)
"""What clocks may differ by, and what a run may have written after its last sign of life."""

REMEDY = "Nothing was changed. If all that is there may be replaced or deleted: --overwrite"


class Side(NamedTuple):
    """What is copied from, or to."""

    name: str
    """`local` or `cloud`."""
    place: str
    """Which file or table it is."""
    storage: Storage


class TargetInUse(StorageError):
    """The target has interactions that are no copies."""


@dataclass(frozen=True)
class Mark:
    """What is known of a copy."""

    source: str
    target: str
    at: datetime
    """The last sign of life of the run that wrote it."""
    days: dict[str, str] | None
    """What the copy was when it was finished; None if it is not. See `content`."""


def find(source: Side, target: Side) -> Mark | None:
    """What is known of this copy, if the target is one of this source."""
    document = target.storage.archive.files.read_document(_name(target))
    if document is None:
        return None
    mark = Mark(**(document | {"at": datetime.fromisoformat(document["at"])}))
    return mark if (mark.source, mark.target) == (source.place, target.place) else None


def check(source: Side, target: Side, gone_until: datetime, step: Step) -> None:
    """Raises TargetInUse. See Note [What may be overwritten]."""
    if _is_empty(target.storage):
        return
    if _is_empty(source.storage):
        raise TargetInUse(f"{source.place} has nothing, and {target.place} has. {REMEDY}")
    mark = find(source, target)
    if mark is None:
        raise TargetInUse(
            f"The target, {target.place}, has interactions that were not copied from "
            f"{source.place}. {REMEDY}"
        )
    if mark.days is not None:
        found = _content_of(target.storage, gone_until, step)
        if days := differing(_unexpired(mark.days, gone_until), _unexpired(found, gone_until)):
            raise _changed(target, f"on {', '.join(days[:5])}{', ...' if days[5:] else ''}")
    elif _has_newer(source.storage, target.storage, mark.at + LATENESS):
        raise _changed(target, f"after {format_time(mark.at)}")


def keep(source: Side, target: Side, days: dict[str, str] | None = None) -> None:
    """Write that the target is a copy; finished if `days` says what it is."""
    document = {
        "source": source.place,
        "target": target.place,
        "at": format_time(timezone.now()),
        "days": days,
    }
    target.storage.archive.files.write_document(_name(target), document)


def forget(target: Side) -> None:
    """The target is in use from now on, and no copy any more."""
    target.storage.archive.files.delete(_name(target))


def living(source: Side, target: Side, step: Step) -> Callable[[], None]:
    """`step`, which also gives a sign of life now and then."""
    last = time.monotonic()

    def alive() -> None:
        nonlocal last
        step()
        if time.monotonic() - last >= SIGN_OF_LIFE_SECONDS:
            keep(source, target)
            last = time.monotonic()

    return alive


def content(hot: Digest, stubs: StubDigest) -> dict[str, str]:
    """What a storage has, day by day: hot rows, and stubs.

    Not the rows of the archive: it may be the source's, too, which goes on working with it.
    """
    rows = {key: value for key, value in hot.days().items() if key.endswith("hot")}
    return rows | stubs.days()


def _content_of(storage: Storage, gone_until: datetime, step: Step) -> dict[str, str]:
    hot, stubs = Digest(), StubDigest()
    for row in hot_rows(storage, gone_until, step):
        hot.add(row)
    for stub in storage.database.all_stubs():
        stubs.add(stub)
    return content(hot, stubs)


def _name(target: Side) -> str:
    return f"{FOLDER}/{target.name}.json"


def _is_empty(storage: Storage) -> bool:
    return not storage.oldest(LATEST, 1) and next(storage.database.all_stubs(), None) is None


def _has_newer(source: Storage, target: Storage, time: datetime) -> bool:
    """Whether the target has something created after a time that the source has not."""
    after = (time, "")
    while page := target.oldest(LATEST, PAGE, after):
        for each in page:
            original = source.get_interaction_sync(each.interaction_id)
            if original is None or original.created_at != each.created_at:
                return True
        after = (page[-1].created_at, page[-1].interaction_id)
    return False


def _unexpired(days: dict[str, str], gone_until: datetime) -> dict[str, str]:
    """Without the day that is expiring, of which each moment leaves another rest."""
    border = gone_until.date().isoformat()
    return {key: value for key, value in days.items() if key.split()[0] > border}


def _changed(target: Side, when: str) -> TargetInUse:
    return TargetInUse(
        f"The target, {target.place}, was changed {when} by others than this command; it may be "
        f"in use. {REMEDY}"
    )
