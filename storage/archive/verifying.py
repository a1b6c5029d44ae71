"""Comparing a segment, row by row, with its manifest."""

import hashlib
from collections import Counter
from collections.abc import Iterator

from storage.archive import pseudonyms, segments
from storage.archive.contents import Contents
from storage.archive.heads import microseconds
from storage.archive.manifests import Manifest
from storage.exceptions import DamagedArchive
from storage.models import ChatInteraction


def verified(contents: Contents) -> Iterator[ChatInteraction]:
    """All rows in the order of the file, while they are compared. Raises DamagedArchive."""
    manifest = contents.manifest
    whole = hashlib.sha256()
    users: Counter[str] = Counter()
    order = _ByTime(manifest) if manifest.is_by_time else _ByUser(manifest)
    for frame, content in contents.frames():
        whole.update(content)
        for row in segments.rows_of(manifest, frame, content):
            order.check(row)
            if manifest.users is not None:
                users[row.user_id] += 1
            yield row
    if whole.hexdigest() != manifest.sha256:
        raise DamagedArchive(manifest.data, "its checksum is wrong")
    order.end()
    if manifest.key_id == pseudonyms.key_id() and manifest.users not in (
        None,
        pseudonyms.counts(users),
    ):
        raise DamagedArchive(manifest.data, "its users are not those of the manifest")


class _ByTime:
    """Rows of format 1 come by time and id."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._last: ChatInteraction | None = None

    def check(self, row: ChatInteraction) -> None:
        if self._last is not None and row.position <= self._last.position:
            raise DamagedArchive(self._manifest.data, "its rows are not in order")
        self._last = row

    def end(self) -> None:
        if self._last is None or self._last.created_at != self._manifest.newest:
            problem = "its newest row is not what the manifest says"
            raise DamagedArchive(self._manifest.data, problem)


class _ByUser:
    """Rows of format 2 are of the users, one after the other, and of the times of the manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._times = iter(manifest.times or ())
        self._users = iter((manifest.users or {}).values())
        self._left = 0
        self._last: ChatInteraction | None = None

    def check(self, row: ChatInteraction) -> None:
        last = self._last
        if not self._left:
            self._left, last = next(self._users, 0), None
        self._left -= 1
        is_next = last is None or (row.user_id == last.user_id and row.position > last.position)
        if not is_next or microseconds(row.created_at) != next(self._times, None):
            raise DamagedArchive(self._manifest.data, "its rows are not in order")
        self._last = row

    def end(self) -> None:
        """Their number is that of the frames, which the manifest has been compared with."""
