"""Segments as earlier versions wrote them, in format 1: sorted by time."""

import io
from collections import Counter
from collections.abc import Iterable
from typing import Any

from storage.archive import manifests, names, pseudonyms
from storage.archive.archive import Archive
from storage.archive.frames import FrameWriter
from storage.archive.manifests import BY_TIME, Frame, Manifest
from storage.archive.segments import LEVEL
from storage.models import ChatInteraction
from storage.records.json import to_json

FRAME_BYTES = 256 * 1024


class EarlierArchive(Archive):
    """Writes format 1, and does all else as the present version does."""

    def write(self, segment: str, rows: Iterable[ChatInteraction]) -> Any:
        """Not safe against crashes, as the earlier version was."""
        rows = sorted(rows, key=lambda row: row.position)
        if not rows:
            return super().write(segment, rows)
        before = self.manifest(segment)
        file = io.BytesIO()
        manifest = written(segment, rows, file)
        self.files.write(manifest.data, file.getvalue())
        self.files.write(names.manifest_of(segment), manifests.to_document(manifest))
        if before is not None:
            self.files.delete(before.data)
        return manifest


def written(segment: str, rows: list[ChatInteraction], file: io.BytesIO) -> Manifest:
    """The manifest of rows that were written to `file`."""
    writer = FrameWriter(file, level=LEVEL, frame_bytes=FRAME_BYTES)
    frames = [frame for row in rows if (frame := writer.add(to_json(row) + b"\n"))]
    frames.append(writer.end_frame())
    framed, number = [], 0
    for frame in frames:
        first = rows[number].position
        framed.append(Frame(frame.offset, frame.length, frame.count, frame.sha256, first))
        number += frame.count
    return Manifest(
        format=BY_TIME,
        segment=segment,
        data=names.new_data(segment),
        sha256=writer.whole.hexdigest(),
        bytes=writer.offset,
        count=len(rows),
        oldest=rows[0].created_at,
        newest=rows[-1].created_at,
        frames=tuple(framed),
        users=pseudonyms.counts(Counter(row.user_id for row in rows)),
        key_id=pseudonyms.key_id(),
    )
