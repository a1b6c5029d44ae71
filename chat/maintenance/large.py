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
from storage.compat import batched
from storage.exceptions import DamagedArchive
from storage.interface import Storage
from storage.large.objects import LargeObjects, is_object
from storage.large.packing import Head
from storage.large.stand_ins import reference_of
from storage.models import ChatInteraction
from storage.records.texts import TextObject

NAME = "large.json"
"""The document that says how far a pass has come that was not finished."""

AGE = timedelta(days=1)
"""What is younger may have its row still to come. No write takes so long, and no clock is so wrong
unnoticed (`chat.maintenance.clock`)."""

OBJECTS_AT_ONCE = 500


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


def named_by(row: ChatInteraction) -> TextObject | None:
    """The object that a row without its large texts names."""
    reference = reference_of(row)
    return None if reference is None else TextObject.loads(reference)


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
        self._storage = storage
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
        named = self._storage.database.text_objects([head.interaction_id for _, head in found])
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
