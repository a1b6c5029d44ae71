"""Reading a segment while it may be rewritten.

If the file that a manifest names is gone, the segment was rewritten or removed, and there is
another manifest or none. Rewriting only drops rows, so the reader goes on after the last row that
it has returned. If the manifest is still the same, the missing file is damage.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from storage.archive import by_time, by_user
from storage.archive.contents import Contents, Rewritten
from storage.archive.files import Files
from storage.archive.manifests import Manifest
from storage.archive.pseudonyms import Sought
from storage.archive.segments import Key
from storage.archive.verifying import verified
from storage.exceptions import DamagedArchive
from storage.models import ChatInteraction
from storage.records.cursors import Position


class Reader:
    """One reading of one segment, from the manifest that `load` returns.

    It begins with `remembered`, if given: what is no longer true of it is read anew.
    """

    def __init__(
        self,
        files: Files,
        segment: str,
        load: Callable[[str], Manifest | None],
        remembered: Manifest | None = None,
    ) -> None:
        self._files = files
        self._segment = segment
        self._load = load
        self._remembered = remembered
        self._known: str | None = None

    def rows(self) -> Iterator[ChatInteraction]:
        """All rows, oldest first."""
        last: Position | None = None
        for contents in self._attempts():
            with suppress(Rewritten):
                forward = by_time.rows if contents.manifest.is_by_time else by_user.rows
                for row in forward(contents, last):
                    last = row.position
                    yield row
                return

    def newest(
        self, before: Position | None, after: datetime | None, sought: Sought | None
    ) -> Iterator[ChatInteraction | datetime]:
        """Rows before a position, created at `after` or later, newest first.

        With `sought`, only frames that may have rows of these users are read. A time among them
        says that the next row is not newer; only going on reads its frame.
        """
        for contents in self._attempts():
            with suppress(Rewritten):
                backward = by_time.newest if contents.manifest.is_by_time else by_user.newest
                for found in backward(contents, before, after, sought):
                    if isinstance(found, ChatInteraction):
                        before = found.position
                    yield found
                return

    def find(self, wanted: Sequence[Position]) -> dict[str, ChatInteraction]:
        """The rows at these positions, by id."""
        for contents in self._attempts():
            with suppress(Rewritten):
                find = by_time.find if contents.manifest.is_by_time else by_user.find
                return {row.interaction_id: row for row in find(contents, set(wanted))}
        return {}

    def keys(self, sought: Sought) -> list[Key]:
        """The ids and users of the rows of these users, from the frames that may have them."""
        for contents in self._attempts():
            with suppress(Rewritten):
                keys = by_time.keys if contents.manifest.is_by_time else by_user.keys
                user_ids = set(sought.user_ids)
                return [key for key in keys(contents, sought) if key.user_id in user_ids]
        return []

    def verify(self) -> Manifest | None:
        """Read all and compare it with the manifest, which is returned. Raises DamagedArchive."""
        for contents in self._attempts():
            with suppress(Rewritten):
                for _ in verified(contents):
                    pass
                return contents.manifest
        return None

    def verified(self) -> Iterator[ChatInteraction]:
        """All rows, in the order of the file, while they are compared with the manifest.

        If the segment is rewritten meanwhile, its new rows follow, all of them. Raises
        DamagedArchive.
        """
        for contents in self._attempts():
            with suppress(Rewritten):
                yield from verified(contents)
                return

    def _attempts(self) -> Iterator[Contents]:
        """What the current manifest names, and anew whenever the caller finds that file gone."""
        manifest = self._remembered or self._load(self._segment)
        while manifest is not None:
            if manifest.data == self._known:
                raise DamagedArchive(manifest.data, "it is not there")
            self._known = manifest.data
            yield Contents(self._files, manifest)
            manifest = self._load(self._segment)
