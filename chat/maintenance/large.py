"""Deleting objects with large texts that no row names: what crashes and failures have left.

An object is written before its row, and outlives it for a moment; DynamoDB deletes rows by itself.
So an object that is a day old, and that its row does not name, is a leftover. The object tells
which row that would be (`storage.large.packing`), so nothing but the objects is gone through.

Two databases may use one archive while one becomes a copy of the other. Then the objects of both
are in it, and nothing is deleted: see `chat.maintenance.migration.handing_over`.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from chat.maintenance.damage import Damage
from chat.maintenance.holds import Holds
from chat.maintenance.migration.handing_over import is_shared
from chat.maintenance.runs import Run
from storage.archive.files import Entry
from storage.batched import batched
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.large.objects import LargeObjects, is_object
from storage.large.packing import Head
from storage.large.texts import LargeTexts, TextObject, Wanted
from storage.models import ChatInteraction

NAME = "large.json"
"""The document that says how far a pass has come that was not finished."""

AGE = timedelta(days=1)
"""What is younger may have its row still to come. No write takes so long, and no clock is so wrong
unnoticed (`chat.maintenance.clock`)."""

OBJECTS_AT_ONCE = 500

MEMORY = 16 * 1024 * 1024
"""Bytes of large texts that are fetched at once."""


def remove_leftovers(
    storage: Storage,
    holds: Holds,
    run: Run,
    damage: Damage,
    removed: Callable[[int], None],
) -> bool:
    """Delete the leftovers; `removed` is called with their number, step by step.

    Goes on where an earlier run was stopped. Returns False if nothing may be deleted, because two
    databases use the archive. A dry run only counts. An object that tells no row is noted in
    `damage`, and stays.
    """
    if is_shared(storage.archive):
        return False
    _Pass(storage, holds, run, damage, removed).do()
    return True


def with_texts(
    storage: Storage, rows: Iterable[ChatInteraction], damage: Damage
) -> Iterator[ChatInteraction]:
    """The rows with their large texts, of which at most MEMORY bytes are fetched at once.

    A row whose object is damaged is left out, and noted in `damage`; so is one that has changed
    since it was read.
    """
    large = LargeTexts(storage.archive.files)
    for some in _fitting(rows):
        wanted = [row for row in some if row.text_object is not None]
        found = dict(zip(map(id, wanted), large.read_each(map(_wanted, wanted)), strict=True))
        for row in some:
            texts = found.get(id(row), (row.message, row.response))
            if isinstance(texts, DamagedArchive):
                damage.found.append(texts)
            elif texts is None:
                _note_missing(storage, row, damage)
            else:
                row.message, row.response = texts
                yield row


def _wanted(row: ChatInteraction) -> Wanted:
    assert row.text_object is not None
    return row.user_id, row.interaction_id, TextObject.loads(row.text_object)


def _note_missing(storage: Storage, row: ChatInteraction, damage: Damage) -> None:
    """Note that the object of a row is not there, unless the row has changed since."""
    _, interaction_id, kept = _wanted(row)
    if storage.database.text_objects([interaction_id]).get(interaction_id) == kept:
        damage.found.append(DamagedArchive(kept.name, "it is not there"))


def _fitting(rows: Iterable[ChatInteraction]) -> Iterator[list[ChatInteraction]]:
    """The rows in lists whose large texts have at most MEMORY bytes, but at least one row."""
    fitting: list[ChatInteraction] = []
    left = MEMORY
    for row in rows:
        size = 0 if row.text_object is None else TextObject.loads(row.text_object).bytes
        if fitting and size > left:
            yield fitting
            fitting, left = [], MEMORY
        fitting.append(row)
        left -= size
    if fitting:
        yield fitting


class _Pass:
    """One pass through all objects."""

    def __init__(
        self,
        storage: Storage,
        holds: Holds,
        run: Run,
        damage: Damage,
        removed: Callable[[int], None],
    ) -> None:
        self._database = storage.database
        self._files = storage.archive.files
        self._objects = LargeObjects(self._files)
        self._holds = holds
        self._run = run
        self._damage = damage
        self._removed = removed

    def do(self) -> None:
        document = None if self._run.dry_run else self._files.read_document(NAME)
        until = self._objects.now() - AGE
        after = "" if document is None else str(document["after"])
        for entries in batched(self._objects.entries(after), OBJECTS_AT_ONCE):
            self._run.step()
            leftovers = list(self._leftovers(each for each in entries if each.modified < until))
            self._delete(leftovers, entries[-1].name)
        if not self._run.dry_run:
            self._files.delete(NAME)
            self._objects.remove_versions()

    def _delete(self, leftovers: list[str], last: str) -> None:
        if not self._run.dry_run:
            if leftovers:
                self._objects.delete_all(leftovers)
            self._files.write_document(NAME, {"after": last})
        self._removed(sum(not name.endswith("/") for name in leftovers))

    def _leftovers(self, entries: Iterable[Entry]) -> Iterator[str]:
        objects = []
        for entry in entries:
            if is_object(entry):
                objects.append(entry.name)
            else:
                yield entry.name
        found = self._with_heads(objects)
        named = self._database.text_objects([head.interaction_id for _, head in found])
        for name, head in found:
            kept = named.get(head.interaction_id)
            is_live = kept is not None and kept.name == name
            if not is_live and head.user_id not in self._holds.users:
                yield name

    def _with_heads(self, names: list[str]) -> list[tuple[str, Head]]:
        found = []
        for name, head in zip(names, self._objects.heads(names), strict=True):
            if isinstance(head, DamagedArchive):
                self._damage.found.append(head)
            elif head is not None:
                found.append((name, head))
        return found
