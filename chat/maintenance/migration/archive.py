"""Copying the files of one archive to another one, unchanged.

If both storages use the same archive, there is nothing to copy.
"""

import hashlib
from collections.abc import Iterator
from itertools import zip_longest

from chat.maintenance import holds
from chat.maintenance.erasure import ledger
from chat.maintenance.erasure.known import Erasures
from chat.maintenance.migration.comparing import Step
from storage.archive import manifests, names
from storage.archive.archive import Archive
from storage.archive.manifests import Manifest
from storage.exceptions import DamagedArchive
from storage.models import ChatInteraction
from storage.records.json import to_json

DOCUMENTS = (holds.FOLDER, ledger.PENDING, ledger.REMOVED, ledger.DONE)
"""In this order: an erasure goes from pending to done."""


def copy_archive(source: Archive, target: Archive, step: Step, erasures: Erasures | None) -> int:
    """Copy what is missing or different in the target. Returns the number of segments copied.

    Of a segment with rows that `erasures` cover, the other rows are copied. Holds and erasures that
    only the target has stay. At most one segment is in memory. Raises DamagedArchive.
    """
    _copy_documents(source, target)
    for markers in source.marked().values():
        for marker in markers:
            target.files.write(marker, b"")
    copied = 0
    for segment in source.all_segments():
        step()
        manifest = source.manifest(segment)
        if manifest is None:
            continue
        if erasures is not None and _has_covered(source, manifest, erasures):
            copied += _copy_others(source, target, segment, erasures)
        else:
            copied += _copy_segment(source, target, manifest)
    return copied


def strays(source: Archive, target: Archive) -> list[str]:
    """The segments that only the target has."""
    return sorted(set(target.all_segments()) - set(source.all_segments()))


def _copy_documents(source: Archive, target: Archive) -> None:
    for folder in DOCUMENTS:
        for name in (f"{folder}/{file}" for file in source.files.list(folder)):
            document = source.files.read_document(name)
            if document is not None and target.files.read_document(name) != document:
                target.files.write_document(name, document)
    holds.copy_lost_stubs(source, target)
    done = {*target.files.list(ledger.REMOVED), *target.files.list(ledger.DONE)}
    for file in target.files.list(ledger.PENDING):
        if file in done:
            target.files.delete(f"{ledger.PENDING}/{file}")


def _copy_segment(source: Archive, target: Archive, manifest: Manifest) -> bool:
    """Copy a segment, if the target's is missing or different. Returns whether it was copied.

    The rows first, and then the manifest: without it the rows do not exist.
    """
    segment = manifest.segment
    if target.manifest(segment) == manifest:
        return False
    data = source.files.read(manifest.data)
    if data is None:
        raise DamagedArchive(manifest.data, "it is not there")
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise DamagedArchive(manifest.data, "its checksum is wrong")
    target.files.write(manifest.data, data)
    target.files.write(names.manifest_of(segment), manifests.to_document(manifest))
    target.remove_orphans(segment)
    target.verify(segment)
    return True


def _has_covered(source: Archive, manifest: Manifest, erasures: Erasures) -> bool:
    return erasures.may_cover(manifest) and any(map(erasures.cover, source.rows(manifest.segment)))


def _copy_others(source: Archive, target: Archive, segment: str, erasures: Erasures) -> bool:
    """Copy the rows that are not covered, if the target has others. Returns whether it had."""

    def others() -> Iterator[ChatInteraction]:
        return (row for row in source.rows(segment) if not erasures.cover(row))

    pairs = zip_longest(others(), target.rows(segment))
    if all(here and there and to_json(here) == to_json(there) for here, there in pairs):
        return False
    target.write(segment, others())
    return True
