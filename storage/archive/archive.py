"""The archive: segments of interactions, and markers of those that need compaction."""

import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.core.files.storage import storages

from storage.archive import heads, manifests, names, segments
from storage.archive.contents import Contents, Rewritten
from storage.archive.files import Backend, Files, Unchanging, translated
from storage.archive.folder import ArchiveFolder
from storage.archive.heads import Listed
from storage.archive.manifests import Manifest
from storage.archive.pseudonyms import Sought
from storage.archive.reader import Reader
from storage.archive.rewriting import Judge, Rewriting, rewritten
from storage.exceptions import DamagedArchive, StorageUnavailable
from storage.models import ChatInteraction
from storage.records.cursors import Position

SPOOL_BYTES = 1024 * 1024
"""How much of a new data file is kept in memory; the rest goes to a file in DATA_DIR."""

MANIFESTS_KEPT = 512
"""Manifests that a process keeps in memory for lists, of some 20 KB each: of four days, if a day
has 22,000 rows.
"""

ABANDONED_SECONDS = 3600
"""A file that was not written to for so long was abandoned."""


def configured_archive() -> "Archive":
    """A new archive over the storage that settings call `archive`, with its own connections."""
    parameters: Any = settings.STORAGES["archive"]
    return Archive(cast("Backend", storages.create_storage(parameters)))


def unchanging_archive(scratch: Path) -> "Archive":
    """The configured archive, to try something out: what is written or deleted stays as it was.

    Large texts that are written go to the folder `scratch`, and are read from there.
    """
    return Archive(Unchanging(configured_archive().files.backend, ArchiveFolder(scratch)))


class Archive:
    """Cold storage. See Note [Files of the archive].

    There may be any number of readers, and one writer of a segment. Anybody may add markers. Every
    method may raise StorageUnavailable, of which DamagedArchive is one, and those that write
    StorageFull. What is not the name of a segment is a ValueError.
    """

    def __init__(self, files: Backend) -> None:
        self.files = Files(files)
        """Also for documents that others keep there, under names of their own."""
        self.newest_day_known: tuple[date | None, float] = (None, 0.0)
        """The newest day, and how long to rely on it (`time.monotonic`). `filtered` keeps it."""
        self._remembered = lru_cache(MANIFESTS_KEPT)(partial(_read_with, self.files))

    # Segments.

    def new_segment(self, day: date) -> str:
        """A new name, such as `2026-10-23/0199f0c2-...`, for a segment with rows of a day (UTC)."""
        return names.new_segment(day)

    def write(self, segment: str, rows: Iterable[ChatInteraction]) -> Manifest | None:
        """Write a segment, or replace its rows. Returns its manifest. Without rows, removes it.

        The rows may come in any order; all are in memory. They must be of the segment's day, and
        none may be there twice; else ValueError. If this fails, the segment is as it was or
        completely written, and `remove_orphans` deletes a file left over.
        """
        before = self.manifest(segment)
        with _spool() as file:
            manifest = segments.write(segment, rows, file)
            self._replace(segment, before, manifest, file)
        return manifest

    def rewrite(
        self, segment: str, judge: Judge, user_ids: Collection[str] | None = None
    ) -> Rewriting:
        """Drop the rows that `judge` does not return, from one reading. Returns the counts.

        With `user_ids`, only parts of the segment that may have rows of these users need be judged;
        all others stay. Fails as `write` does, and with DamagedArchive.
        """
        before = self.manifest(segment)
        if before is None:
            return Rewriting(0, 0)
        sought = None if user_ids is None else Sought(user_ids)
        with _spool() as file:
            try:
                manifest = rewritten(Contents(self.files, before), judge, file, sought)
            except Rewritten:
                raise _overtaken(segment) from None
            kept = 0 if manifest is None else manifest.count
            if kept < before.count:
                self._replace(segment, before, manifest, file)
        return Rewriting(kept, before.count - kept)

    def manifest(self, segment: str) -> Manifest | None:
        """What is known about a segment without its rows. None if there is no such segment."""
        return _manifest(self.files, segment)

    def remove(self, segment: str) -> None:
        """Delete a segment, if it exists, with all files that ever had rows of it."""
        self.remove_all([segment])

    def remove_all(self, segments: Sequence[str]) -> None:
        """The same for some segments of one day, with one list of its files."""
        self.files.delete_all([names.manifest_of(segment) for segment in segments])
        self._delete(self._data_files(segments), segments)

    def days(self) -> list[date]:
        """The days that have segments, sorted."""
        return [day for folder in self.files.folders() if (day := names.as_day(folder))]

    def segments(self, day: date) -> list[str]:
        """The segments of a day, oldest first."""
        return self.segments_and_lost(day)[0]

    def segments_and_lost(self, day: date) -> tuple[list[str], list[str]]:
        """The segments of a day, oldest first, and those that have rows but lost their manifest."""
        found, lost = self.listed(day)
        return [each.segment for each in found], lost

    def listed(self, day: date) -> tuple[list[Listed], list[str]]:
        """The same with what the names of the files tell: no file is read."""
        return heads.listed(day, self.files.list(day.isoformat()))

    def all_segments(self) -> Iterator[str]:
        """The segments of all days, oldest first."""
        return (segment for day in self.days() for segment in self.segments(day))

    def manifests(self, day: date) -> Iterator[Manifest]:
        """The manifests of the segments of a day, oldest first."""
        return filter(None, map(self.manifest, self.segments(day)))

    # Their rows.

    def rows(self, segment: str) -> Iterator[ChatInteraction]:
        """All rows of a segment, oldest first; none if there is no such segment.

        Each frame is checked before any of its rows is returned. If the segment is rewritten
        meanwhile, its new rows follow.
        """
        return self._reader(segment).rows()

    def newest(
        self,
        segment: str,
        before: Position | None = None,
        after: datetime | None = None,
        sought: Sought | None = None,
    ) -> Iterator[ChatInteraction]:
        """The rows of a segment before a position and created at `after` or later, newest first.

        Only the frames that are asked for are read. With `sought`, no rows of others are wanted;
        but from segments that earlier versions wrote these are returned as well.
        """
        found = self.announced(segment, before, after, sought)
        return (row for row in found if isinstance(row, ChatInteraction))

    def announced(
        self,
        segment: str,
        before: Position | None = None,
        after: datetime | None = None,
        sought: Sought | None = None,
        data: str | None = None,
    ) -> Iterator[ChatInteraction | datetime]:
        """The same, with times in between: no row that follows is newer.

        So whoever merges segments reads no frame before it is its turn. With `data`, the data file
        in a list of just now, the manifest is not read if this process still knows it.
        """
        return self._reader(segment, data).newest(before, after, sought)

    def find(self, segment: str, wanted: Sequence[Position]) -> dict[str, ChatInteraction]:
        """The rows at these positions, by id. Those that the segment does not have are left out."""
        return self._reader(segment).find(wanted)

    def verify(self, segment: str) -> Manifest | None:
        """Read a segment completely and compare it with its manifest, which is returned.

        Raises DamagedArchive.
        """
        return self._reader(segment).verify()

    def verified_rows(self, segment: str) -> Iterator[ChatInteraction]:
        """All rows, as `rows` returns them, while the segment is verified as `verify` does it.

        If it is rewritten meanwhile, all its new rows follow. Raises DamagedArchive.
        """
        return self._reader(segment).verified()

    # Whose rows there are.

    def segments_of(self, user_ids: Collection[str]) -> Iterator[tuple[str, list[str]]]:
        """The segments that may have rows of some users, oldest first, each with which of them.

        Raises DamagedArchive if there are rows without a manifest: nobody could tell whose they
        are. What interrupted runs have left without one must be gone.
        """
        sought = Sought(user_ids)
        for day in self.days():
            found, lost = self.listed(day)
            if lost:
                raise DamagedArchive(f"{lost[0]}.json", "it is missing, and its rows are there")
            yield from self._may_hold(found, sought)

    def ids_of(self, segment: str, user_ids: Collection[str]) -> dict[str, list[str]]:
        """The ids of these users' rows in a segment, by user. Reads the frames that have them."""
        found: dict[str, list[str]] = {}
        for key in self._reader(segment).keys(Sought(user_ids)):
            found.setdefault(key.user_id, []).append(key.interaction_id)
        return found

    def _may_hold(self, found: Iterable[Listed], sought: Sought) -> Iterator[tuple[str, list[str]]]:
        for each in found:
            if each.head is not None and not each.head.holders(sought):
                continue
            manifest = self.manifest(each.segment)
            if manifest is not None and (holders := manifest.holders(sought)):
                yield each.segment, list(holders)

    # What interrupted runs leave.

    def orphans(self, segment: str) -> list[str]:
        """The data files of a segment that its manifest does not name, sorted."""
        manifest = self.manifest(segment)
        named = None if manifest is None else manifest.data
        return [file for file in self._data_files([segment]) if file != named]

    def orphaned_ids(self, segment: str) -> Iterator[list[str]]:
        """The ids of the rows in the orphans, file by file. Raises DamagedArchive."""
        for file in self.orphans(segment):
            content = self.files.read(file)
            if content is not None:
                yield segments.ids_of(file, content)

    def remove_orphans(self, segment: str) -> int:
        """Delete the orphans, and what interrupted writes have left. Returns how many orphans.

        Nobody may be writing the segment.
        """
        orphans = self.orphans(segment)
        self._delete(orphans, [segment])
        return len(orphans)

    def tidy(self, folders: Iterable[str] = (names.PENDING,)) -> None:
        """Delete what writes that were interrupted at least an hour ago have left in folders."""
        for folder in folders:
            self.files.remove_leftovers(f"{folder}/", ABANDONED_SECONDS)

    # Markers.

    def mark(self, segment: str) -> str:
        """Mark a segment: some of its rows may not count any more. Returns the marker's name."""
        return self.mark_all([segment])[0]

    def mark_all(self, segments: Iterable[str]) -> list[str]:
        """Mark some segments. Returns the names of the markers."""
        markers = [names.new_marker(segment) for segment in segments]
        self.files.create_all(markers)
        return markers

    def marked(self) -> dict[str, list[str]]:
        """The marked segments, sorted, with the names of their markers."""
        found: dict[str, list[str]] = {}
        for file in self.files.list(names.PENDING):
            if segment := names.marked_by(file):
                found.setdefault(segment, []).append(f"{names.PENDING}/{file}")
        return found

    def unmark(self, markers: Iterable[str]) -> None:
        """Delete these markers. Those that are gone are no error."""
        self.files.delete_all(list(markers))

    def _reader(self, segment: str, data: str | None = None) -> Reader:
        if data is None:
            names.day_of(segment)
            return Reader(self.files, segment, self.manifest)
        return Reader(self.files, segment, self.manifest, self._remembered(segment, data))

    def _replace(
        self, segment: str, before: Manifest | None, after: Manifest | None, file: IO[bytes]
    ) -> None:
        """Put the rows in `file` in the place of those that the segment had."""
        if after is None:
            self.remove(segment)
            return
        file.seek(0)
        self.files.write(after.data, file)
        self._commit(after, before)
        if before is not None:
            self.files.delete(before.data)

    def _commit(self, manifest: Manifest, before: Manifest | None) -> None:
        """Replace the manifest `before`, unless another run has written the segment meanwhile.

        That run has dropped rows which must not come back.
        """
        if self.manifest(manifest.segment) != before:
            self.files.delete(manifest.data)
            raise _overtaken(manifest.segment)
        # Another run's remove_orphans may have deleted the new file.
        if len(self.files.read(manifest.data, manifest.bytes - 1, 2) or b"") != 1:
            raise StorageUnavailable(f"{manifest.data} was deleted before it was committed.")
        name = names.manifest_of(manifest.segment)
        self.files.write(name, manifests.to_document(manifest))

    def _data_files(self, segments: Sequence[str]) -> list[str]:
        """All files that have, or once had, rows of some segments of one day."""
        folder = names.day_of(segments[0]).isoformat()
        files = (f"{folder}/{file}" for file in self.files.list(folder))
        return names.data_of(files, segments)

    def _delete(self, files: Sequence[str], segments: Sequence[str]) -> None:
        self.files.delete_all(files)
        self.files.remove_leftovers(tuple(segments))


def _overtaken(segment: str) -> StorageUnavailable:
    return StorageUnavailable(f"{segment} was rewritten by another run meanwhile.")


@contextmanager
def _spool() -> Iterator[IO[bytes]]:
    with translated("A temporary file in DATA_DIR", "written", remedy="Check DATA_DIR."):
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=str(settings.DATA_DIR)) as file:
            yield file


def _manifest(files: Files, segment: str) -> Manifest | None:
    document = files.read(names.manifest_of(segment))
    return None if document is None else manifests.from_document(segment, document)


def _read_with(files: Files, segment: str, data: str) -> Manifest | None:
    """The manifest that names a data file: there is never another one that does.

    If the segment was rewritten before it could be read, a later one, which is as good: what has
    become of it since, the reader notices by its missing file.
    """
    return _manifest(files, segment)
