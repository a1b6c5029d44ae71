"""Fetching the large texts of hot rows, past those that are damaged."""

from collections.abc import Iterable, Iterator

from chat.maintenance.damage import Damage
from chat.maintenance.large import named_by
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction
from storage.records.texts import OBJECT

MEMORY = 16 * 1024 * 1024
"""Bytes of large texts that are fetched at once."""


def whole(
    storage: Storage, rows: Iterable[ChatInteraction], damage: Damage
) -> Iterator[ChatInteraction]:
    """The rows with their large texts, of which at most MEMORY bytes are fetched at once.

    A row whose object is damaged is left out, and noted in `damage`; so is one that has changed
    since it was read.
    """
    objects = LargeTexts(storage.archive.files)
    for some in _fitting(rows):
        wanted = {
            row.interaction_id: (row.user_id, row.interaction_id, kept)
            for row in some
            if (kept := named_by(row)) is not None
        }
        found = dict(zip(wanted, objects.read_each(wanted.values()), strict=True))
        for row in some:
            texts = found.get(row.interaction_id, ("", ""))
            if isinstance(texts, DamagedArchive):
                damage.found.append(texts)
            elif texts is None:
                _note_missing(storage, row, damage)
            else:
                yield _filled(row, *texts)


def _filled(row: ChatInteraction, message: str, response: str) -> ChatInteraction:
    """The row with these texts, in place of what stands for them in the database."""
    row.__dict__.pop(OBJECT, None)
    row.message, row.response = message or row.message, response or row.response
    return row


def _note_missing(storage: Storage, row: ChatInteraction, damage: Damage) -> None:
    """Note that the object of a row is not there, unless the row has changed since."""
    kept = named_by(row)
    now = storage.database.text_objects([row.interaction_id])
    if kept is not None and now.get(row.interaction_id) == kept:
        damage.found.append(DamagedArchive(kept.name, "it is not there"))


def _fitting(rows: Iterable[ChatInteraction]) -> Iterator[list[ChatInteraction]]:
    """The rows in lists whose large texts have at most MEMORY bytes, but at least one row."""
    fitting: list[ChatInteraction] = []
    left = MEMORY
    for row in rows:
        kept = named_by(row)
        size = 0 if kept is None else kept.bytes
        if fitting and size > left:
            yield fitting
            fitting, left = [], MEMORY
        fitting.append(row)
        left -= size
    if fitting:
        yield fitting
