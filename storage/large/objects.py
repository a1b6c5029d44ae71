"""All objects with large texts, for maintenance: found by listing, whatever the rows say."""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from storage.archive.archive import ABANDONED_SECONDS
from storage.archive.files import LARGE, Entry, Files
from storage.archive.pseudonyms import pseudonyms_by_key
from storage.exceptions import DamagedArchive
from storage.large.packing import HEAD_BYTES, Head, Unreadable, head_of
from storage.large.texts import side_by_side

FOLDER = LARGE.rstrip("/")

_OBJECT = re.compile(rf"{FOLDER}/[0-9a-f]{{8}}/[0-9a-f]{{32}}/[0-9a-f]{{32}}", re.ASCII)


class LargeObjects:
    """The objects below `large/`. Every method may raise StorageUnavailable."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def listed(self, after: str = "") -> Iterator[Entry]:
        """All objects whose names come after `after`, sorted."""
        return filter(is_object, self.entries(after))

    def entries(self, after: str = "") -> Iterator[Entry]:
        """The same, with what is left of writes that were cut short, and empty folders."""
        return self._files.entries(f"{FOLDER}/", after)

    def of_users(self, user_ids: Collection[str]) -> Iterator[tuple[str, Entry]]:
        """The objects of some users, and what else is in their folders, each with its user.

        Under keys that are not known any more, the objects themselves tell whose they are.
        """
        wanted = set(user_ids)
        keys = set(self._files.folders(FOLDER))
        for user_id in user_ids:
            for key, pseudonym in pseudonyms_by_key(user_id).items():
                if key in keys:
                    entries = self._files.entries(f"{FOLDER}/{key}/{pseudonym}/")
                    yield from ((user_id, entry) for entry in entries)
        for key in sorted(keys - pseudonyms_by_key("").keys()):
            for entry in filter(is_object, self._files.entries(f"{FOLDER}/{key}/")):
                head = self.head(entry.name)
                if head is not None and head.user_id in wanted:
                    yield head.user_id, entry

    def head(self, name: str) -> Head | None:
        """Whose texts an object has; None if it is gone. Raises DamagedArchive."""
        content = self._files.read(name, 0, HEAD_BYTES)
        if content is None:
            return None
        try:
            return head_of(content)
        except Unreadable as error:
            raise DamagedArchive(name, str(error)) from None

    def heads(self, names: Sequence[str]) -> list[Head | DamagedArchive | None]:
        """The heads of several, side by side; in place of a head, that the object is damaged."""

        def head(name: str) -> Head | DamagedArchive | None:
            try:
                return self.head(name)
            except DamagedArchive as error:
                return error

        return side_by_side(head, names)

    def delete_all(self, names: Sequence[str]) -> None:
        """Delete objects and leftovers for good, and their folders, if these are empty then."""
        self._files.delete_all([name for name in names if not name.endswith("/")])
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            self._files.remove_leftovers(f"{folder}/", ABANDONED_SECONDS)

    def remove_versions(self, user_id: str | None = None) -> None:
        """Delete what a bucket with versions has still of objects that are gone.

        With `user_id`, only of this user's.
        """
        folders = [f"{key}/{digits}/" for key, digits in pseudonyms_by_key(user_id or "").items()]
        for folder in folders if user_id is not None else [""]:
            self._files.remove_leftovers(f"{FOLDER}/{folder}", ABANDONED_SECONDS)

    def now(self) -> datetime:
        """The time by the clock that `Entry.modified` is of."""
        return self._files.server_time() or datetime.now(UTC)


def is_object(entry: Entry) -> bool:
    """Whether this is an object with texts, and no leftover of writing one."""
    return _OBJECT.fullmatch(entry.name) is not None
