"""Whether a target may be written to, so that a copy deletes nothing that is not a copy.

To make a copy equal to its source, rows of the copy are replaced and deleted. That is right only
where nothing but copies was ever written: elsewhere it would undo what users have done since they
were moved over, or destroy other data. So without `--overwrite` a target that has interactions is
refused, a finished copy among them.

Only an unfinished copy of the same source goes on: a document in the target's archive names both,
from before the first write to the end. It is refused as well if the source is empty, which may be
the wrong file, or if somebody seems to use the target by mistake: if it has an interaction that was
created since the copy was last at work, and that the source has not.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone

from chat.maintenance.migration.comparing import PAGE
from chat.maintenance.policy import LATEST
from storage.archive import documents
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.records.json import format_time
from storage.records.pages import never

FOLDER = "copies"

SIGN_SECONDS = 10.0
"""How often a copy at work renews its mark, in seconds."""

LATENESS = timedelta(seconds=60)
"""What was created until so long after the last sign may have been copied, and deleted since."""

REMEDY = (
    "Nothing was changed. To bring the target up to date all the same, and replace or delete what "
    "it has otherwise: --overwrite"
)


class Side(NamedTuple):
    """What is copied from, or to."""

    name: str
    """`local` or `cloud`."""
    place: str
    """Which file or table it is."""
    storage: Storage


class TargetInUse(StorageError):
    """The target has interactions, and is no unfinished copy of the source."""


def check(source: Side, target: Side) -> None:
    """Raise TargetInUse if the target may not be written to without `--overwrite`."""
    if _is_empty(target.storage):
        return
    if _is_empty(source.storage):
        raise TargetInUse(f"{source.place} has nothing, and {target.place} has. {REMEDY}")
    places = (source.place, target.place)
    document = target.storage.archive.files.read_document(_name(target))
    # Version 0.1 left a document with `days` for a copy that was finished.
    if document is None or document.get("days") is not None or _places(document) != places:
        raise TargetInUse(
            f"The target, {target.place}, has interactions, and is not an unfinished copy of "
            f"{source.place}. {REMEDY}"
        )
    since = datetime.fromisoformat(document["at"]) + LATENESS
    if _has_newer(source.storage, target.storage, since):
        raise TargetInUse(
            f"The target, {target.place}, has an interaction that was created after "
            f"{format_time(since)} and that {source.place} has not; the target may be in use. "
            f"{REMEDY}"
        )


def begin(source: Side, target: Side) -> None:
    """Mark the target as an unfinished copy of the source, at work now: also a sign of life."""
    document = {
        "source": source.place,
        "target": target.place,
        "at": format_time(timezone.now()),
    }
    target.storage.archive.files.write_document(_name(target), document)


def end(target: Side) -> None:
    """Take the mark away: the copy is finished."""
    target.storage.archive.files.delete(_name(target))


def _name(target: Side) -> str:
    return f"{FOLDER}/{target.name}.json"


def _places(document: documents.Content) -> tuple[str, str]:
    return document["source"], document["target"]


def _is_empty(storage: Storage) -> bool:
    return (
        not storage.oldest(LATEST, 1, None, never)
        and next(storage.database.all_stubs(), None) is None
    )


def _has_newer(source: Storage, target: Storage, time: datetime) -> bool:
    """Whether the target has something created after a time that the source has not."""
    after = (time, "")
    while page := target.oldest(LATEST, PAGE, after, never):
        for row in page:
            original = source.get_interaction_sync(row.interaction_id)
            if original is None or original.created_at != row.created_at:
                return True
        after = page[-1].position
    return False
