"""Whether objects with large texts are what was written, and those that rows name are there."""

from collections.abc import Callable, Iterator, Sequence

from storage.compat import batched
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.large.objects import LargeObjects
from storage.large.texts import LargeTexts

ROWS_AT_ONCE = 500


def verified(storage: Storage, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Read these objects, as far as rows name them. Yields what is wrong, with the name.

    An object that cannot say which row that would be is wrong as well, unless it is gone.
    """
    heads = []
    for name, head in zip(names, LargeObjects(storage.archive.files).heads(names), strict=True):
        if isinstance(head, DamagedArchive):
            yield name, head.problem
        elif head is not None:
            heads.append((name, head))
    named = storage.database.text_objects([head.interaction_id for _, head in heads])
    wanted = [
        (head.user_id, head.interaction_id, kept)
        for name, head in heads
        if (kept := named.get(head.interaction_id)) is not None and kept.name == name
    ]
    for texts in LargeTexts(storage.archive.files).read_each(wanted):
        if isinstance(texts, DamagedArchive):
            yield texts.name, texts.problem


def missing(storage: Storage, step: Callable[[], None]) -> Iterator[str]:
    """The names of objects that hot rows name at a second look, too, and that are not there.

    Lists all objects and reads all rows. `step` is called again and again, and may raise.
    """
    there = {entry.name for entry in LargeObjects(storage.archive.files).listed()}
    for rows in batched(storage.database.all_text_objects(), ROWS_AT_ONCE):
        step()
        absent = {row_id: kept.name for _, row_id, kept in rows if kept.name not in there}
        named = storage.database.text_objects(list(absent)) if absent else {}
        for row_id, name in absent.items():
            kept = named.get(row_id)
            if kept is not None and kept.name == name and not _is_there(storage, name):
                yield name


def _is_there(storage: Storage, name: str) -> bool:
    return storage.archive.files.read(name, 0, 1) is not None
