"""Which segments are the same at two times, by lists of files alone.

Each rewriting of a segment has data files of new names, and what is about to change in one is
marked before. So a segment that has the same files at two times, and was not marked at either, has
the same rows, and all of them have counted at every moment between.
"""

import hashlib

from storage.archive import names
from storage.archive.archive import Archive


def complete(archive: Archive) -> dict[str, str]:
    """The segments that are not marked, each with what changes when it is written again."""
    marked = archive.marked()
    found: dict[str, list[str]] = {}
    for day in archive.days():
        for file in archive.files.list(day.isoformat()):
            if parsed := names.parsed(file):
                found.setdefault(f"{day.isoformat()}/{parsed[0]}", []).append(file)
    marked |= archive.marked()
    return {segment: _digest(files) for segment, files in found.items() if segment not in marked}


def _digest(files: list[str]) -> str:
    return hashlib.sha256(" ".join(sorted(files)).encode()).hexdigest()[:16]
