"""The archive: segments of interactions, and which of them are to be brought into line."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import IO, Any, cast

from django.conf import settings
from django.core.files.storage import storages

from storage.archive import manifests, names, segments
from storage.archive.files import Backend, Files, translated
from storage.archive.manifests import Manifest
from storage.archive.reader import Reader
from storage.archive.segments import Writer
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction
from storage.records.cursors import Position

SPOOL_BYTES = 1024 * 1024
"""Of a data file that is being written, kept in memory; more goes to a file in DATA_DIR."""

ABANDONED_SECONDS = 3600
"""What nobody has written to for so long is not being written any more."""


def configured_archive() -> "Archive":
    """The archive over the storage that settings have as `archive`, with connections of its own."""
    parameters: Any = settings.STORAGES["archive"]
    return Archive(cast("Backend", storages.create_storage(parameters)))


class Archive:
    """Cold storage. See Note [Files of the archive].

    Any number of readers may be at work, with one writer of a segment; markers come from anywhere.
    Every method may raise StorageUnavailable (of which DamagedArchive is one), and those that
    write StorageFull. A segment's name that is none is a ValueError.
    """

    def __init__(self, files: Backend) -> None:
        self.files = Files(files)
        """For what else is kept there: documents, under names of their own."""

    # Segments.

    def new_segment(self, day: date) -> str:
        """A name, such as `2026-10-23/0199f0c2-...`, for a segment with rows of a day (UTC)."""
        return names.new_segment(day)

    def write(self, segment: str, rows: Iterable[ChatInteraction]) -> Manifest | None:
        """Write a segment, or rewrite it; its manifest. Without rows it is removed: None.

        The rows come by (created_at, interaction_id), each once, all of the segment's day;
        else ValueError. They may come from the segment itself. Nothing is changed if this fails,
        save that a file may be left, for `remove_orphans`, or the old file behind the new one.
        """
        before = self.manifest(segment)
        data = names.new_data(segment)
        with _spool() as file:
            manifest = Writer(segment, data, file).write(rows)
            if manifest is None:
                self.remove(segment)
                return None
            file.seek(0)
            self.files.write(data, file)
        self._commit(manifest, before)
        if before is not None:
            self.files.delete(before.data)
        return manifest

    def manifest(self, segment: str) -> Manifest | None:
        """What is known of a segment without its rows; None if it is not there."""
        document = self.files.read(names.manifest_of(segment))
        return None if document is None else manifests.from_document(segment, document)

    def remove(self, segment: str) -> None:
        """Delete a segment, if it is there, and all files that ever had rows of it."""
        self.files.delete(names.manifest_of(segment))
        self._delete(self._data_files(segment), segment)

    def days(self) -> list[date]:
        """The days that have segments, sorted."""
        return [day for folder in self.files.folders() if (day := names.as_day(folder))]

    def segments(self, day: date) -> list[str]:
        """The segments of a day, sorted: the older the earlier."""
        files = self.files.list(day.isoformat())
        return sorted(segment for file in files if (segment := names.as_segment(day, file)))

    # Their rows.

    def rows(self, segment: str) -> Iterator[ChatInteraction]:
        """All rows of a segment, oldest first; none if it is not there.

        Each part is checked before any row of it is given. A segment that is rewritten meanwhile
        goes on with its new rows.
        """
        return self._reader(segment).rows()

    def newest(
        self, segment: str, before: Position | None = None, after: datetime | None = None
    ) -> Iterator[ChatInteraction]:
        """Rows of a segment, newest first: those before a time and id, created at `after` or later.

        Only what is asked for is read.
        """
        return self._reader(segment).newest(before, after)

    def find(self, segment: str, wanted: Sequence[Position]) -> dict[str, ChatInteraction]:
        """The rows at these times and ids, by id, without those that the segment has not."""
        return self._reader(segment).find(wanted)

    def verify(self, segment: str) -> Manifest | None:
        """Read all of a segment and compare it with its manifest. Raises DamagedArchive."""
        return self._reader(segment).verify()

    # What interrupted runs leave.

    def orphans(self, segment: str) -> list[str]:
        """Files with rows that the segment's manifest does not name, sorted."""
        manifest = self.manifest(segment)
        named = None if manifest is None else manifest.data
        return [file for file in self._data_files(segment) if file != named]

    def orphaned_ids(self, segment: str) -> Iterator[list[str]]:
        """The ids of the rows in these, file by file. Raises DamagedArchive."""
        for file in self.orphans(segment):
            content = self.files.read(file)
            if content is not None:
                yield segments.ids_of(file, content)

    def remove_orphans(self, segment: str) -> int:
        """Delete these, how many, and what is left of writings and earlier contents.

        Nobody may be writing the segment.
        """
        orphans = self.orphans(segment)
        self._delete(orphans, segment)
        return len(orphans)

    def tidy(self, folders: Iterable[str] = (names.PENDING,)) -> None:
        """Delete what writings that were interrupted an hour ago have left in these folders."""
        for folder in folders:
            self.files.remove_leftovers(f"{folder}/", ABANDONED_SECONDS)

    # Markers.

    def mark(self, segment: str) -> str:
        """Mark a segment as one that may hold rows which are not its own; the marker's name."""
        marker = names.new_marker(segment)
        self.files.write(marker, b"")
        return marker

    def marked(self) -> dict[str, list[str]]:
        """The segments that are marked, sorted, each with the names of its markers."""
        found: dict[str, list[str]] = {}
        for file in self.files.list(names.PENDING):
            if segment := names.marked_by(file):
                found.setdefault(segment, []).append(f"{names.PENDING}/{file}")
        return found

    def unmark(self, markers: Iterable[str]) -> None:
        """Take these markers away; those that are gone are no error."""
        for marker in markers:
            self.files.delete(marker)

    def _reader(self, segment: str) -> Reader:
        names.day_of(segment)
        return Reader(self.files, segment, self.manifest)

    def _commit(self, manifest: Manifest, before: Manifest | None) -> None:
        """Replace the manifest `before`. A writer that stood still for long may have lost it.

        What another has written meanwhile has lost rows that must not come back.
        """
        if self.manifest(manifest.segment) != before:
            self.files.delete(manifest.data)
            raise StorageUnavailable(f"{manifest.segment} was rewritten by another run meanwhile.")
        # Nor may its file have gone to another's remove_orphans.
        if len(self.files.read(manifest.data, manifest.bytes - 1, 2) or b"") != 1:
            raise StorageUnavailable(f"{manifest.data} was deleted before it was committed.")
        name = names.manifest_of(manifest.segment)
        self.files.write(name, manifests.to_document(manifest))

    def _data_files(self, segment: str) -> list[str]:
        folder = names.day_of(segment).isoformat()
        files = (f"{folder}/{file}" for file in self.files.list(folder))
        return [file for file in files if names.is_data_of(file, segment)]

    def _delete(self, files: Iterable[str], segment: str) -> None:
        for file in files:
            self.files.delete(file)
        self.files.remove_leftovers(segment)


@contextmanager
def _spool() -> Iterator[IO[bytes]]:
    with translated("A temporary file in DATA_DIR", "written", remedy="Check DATA_DIR."):
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=str(settings.DATA_DIR)) as file:
            yield file
