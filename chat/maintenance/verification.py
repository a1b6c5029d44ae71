"""Verifying the archive: whether each file is what was written, and each row has its stub.

A verification takes as long as the archive is large, and may take several runs. A document in the
archive says how far it is and what it has found. A damaged file keeps no other from being verified.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import msgspec

from chat.maintenance import holds
from chat.maintenance.damage import Damage
from chat.maintenance.erasure import ledger
from chat.maintenance.large_checks import missing, verified
from chat.maintenance.policy import Policy
from chat.maintenance.runs import Run
from storage.archive import names
from storage.archive.archive import Archive
from storage.archive.ownership import NAME as IDENTITY
from storage.compat import batched
from storage.exceptions import DamagedArchive, StorageError
from storage.interface import Storage
from storage.large.objects import LargeObjects
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time

NAME = "verification.json"
"""The document of the verification that is under way, and of the last one that was finished."""

FOLDERS = (holds.FOLDER, ledger.PENDING, ledger.REMOVED, ledger.DONE)
"""Whose documents are verified besides the segments."""

ROWS_AT_ONCE = 500

LARGE_AT_ONCE = 4
"""Objects with large texts that are read side by side."""

SAVE_SECONDS = 10.0
"""How often a run records how far it is."""


@dataclass
class Verification:
    """One verification of the whole archive, in the order of the names."""

    begun_at: str
    after: str = ""
    """The name that was verified last."""
    after_large: str = ""
    """The object with large texts that was verified last; they come after all other files."""
    problems: dict[str, str] = field(default_factory=dict)
    """What is wrong, by the name of the file."""
    finished_at: str | None = None


@dataclass
class Record:
    """What the document says."""

    current: Verification | None = None
    last: Verification | None = None

    @property
    def damaged(self) -> set[str]:
        """The files that the last verification found damaged, or the one that is under way."""
        known = (self.current, self.last)
        return {name for verification in known if verification for name in verification.problems}


@dataclass
class Verified:
    """What a run of verify_archive has done."""

    segments: int = 0
    """Segments that were read and compared."""
    rows: int = 0
    documents: int = 0
    """Legal holds and erasures that were read."""
    large_texts: int = 0
    """Objects with large texts that were read."""
    damaged: list[str] = field(default_factory=list)
    """The damaged files, of earlier runs of this verification as well."""
    begun_at: str | None = None
    """When the first run of this verification began."""
    finished_at: str | None = None
    """When it was finished; None if the next run goes on."""
    remaining: int | None = None
    """Segments and documents that are left; objects with large texts are not counted."""


def read(archive: Archive) -> Record:
    """How far the verification is, and what it found. If that is damaged, the next begins anew."""
    document = None
    with suppress(DamagedArchive):
        document = archive.files.read_document(NAME)
    return Record() if document is None else msgspec.convert(document, Record)


def verify(
    storage: Storage, policy: Policy, run: Run, report: Verified, *, stubs: bool = False
) -> None:
    """Verify the archive, or what earlier runs have left of it. Counts in `report` as it goes.

    With `stubs`, also look for stubs whose rows are not there, and for hot rows whose large texts
    are not there; on DynamoDB that reads the whole table. Raises DamagedArchive, or
    StorageUnavailable if several files are damaged, when everything else is verified.
    """
    record = read(storage.archive)
    job = _Job(storage, policy, run, report, record, record.current or _new())
    with Damage() as damage:
        try:
            job.verify(stubs)
        finally:
            report.damaged = sorted(job.verification.problems)
            damage.found += [
                DamagedArchive(name, problem) for name, problem in job.verification.problems.items()
            ]


def _new() -> Verification:
    return Verification(format_time(datetime.now(UTC)))


@dataclass
class _Job:
    storage: Storage
    policy: Policy
    run: Run
    report: Verified
    record: Record
    verification: Verification

    def __post_init__(self) -> None:
        self.record.current = self.verification
        self._saved_at = time.monotonic()

    def verify(self, stubs: bool) -> None:
        self.report.begun_at = self.verification.begun_at
        try:
            self._verify_all()
            self._verify_large()
            if stubs:
                self._verify_stubs()
                self._verify_large_of_rows()
        except BaseException:
            with suppress(StorageError):  # the archive itself may be what failed
                self._save()
            raise
        self.report.finished_at = format_time(datetime.now(UTC))
        self.verification.finished_at = self.report.finished_at
        self.record.last, self.record.current = self.verification, None
        self._save()
        self.report.remaining = 0

    def _verify_all(self) -> None:
        left = [name for name in _names(self.storage.archive) if name > self.verification.after]
        self.report.remaining = len(left)
        for name in left:
            self.run.step(self.report.rows)
            try:
                self._verify(name)
            except DamagedArchive as error:
                self._note(error.name, error.problem)
            self.verification.after = name
            self.report.remaining -= 1
            if time.monotonic() - self._saved_at > SAVE_SECONDS:
                self._save()

    def _verify_large(self) -> None:
        """Read the objects with large texts, as far as rows name them."""
        objects = LargeObjects(self.storage.archive.files)
        for entries in batched(objects.listed(self.verification.after_large), LARGE_AT_ONCE):
            self.run.step(self.report.rows)
            names = [entry.name for entry in entries]
            for name, problem in verified(self.storage, names):
                self._note(name, problem)
            self.report.large_texts += len(names)
            self.verification.after_large = names[-1]
            if time.monotonic() - self._saved_at > SAVE_SECONDS:
                self._save()

    def _verify_large_of_rows(self) -> None:
        """Note the objects that hot rows name, and that are not there."""
        for name in missing(self.storage, lambda: self.run.step(self.report.rows)):
            self._note(name, "it is not there, and a row names it")

    def _verify(self, name: str) -> None:
        if name.endswith(".json"):
            self.storage.archive.files.read_document(name)
            self.report.documents += 1
            return
        alone: list[Position] = []
        is_empty = True
        for rows in batched(self.storage.archive.verified_rows(name), ROWS_AT_ONCE):
            self.run.step(self.report.rows)
            is_empty = False
            alone += [row.position for row in self._without_stub(rows, name)]
            self.report.rows += len(rows)
        self.report.segments += 1
        if is_empty:
            self._refuse_lost_manifest(name)
        if alone:
            self._refuse_alone(name, alone)

    @cached_property
    def _lost_stubs_until(self) -> datetime:
        return holds.lost_stubs_until(self.storage.archive)

    def _refuse_lost_manifest(self, segment: str) -> None:
        archive = self.storage.archive
        lost = archive.segments_and_lost(names.day_of(segment))[1]
        if segment in lost and segment not in archive.marked():
            raise DamagedArchive(f"{segment}.json", "it is missing, and its rows are there")

    def _without_stub(self, rows: Iterable[ChatInteraction], segment: str) -> list[ChatInteraction]:
        """The rows that have not expired and should have a stub in the segment, but do not."""
        unexpired = [row for row in rows if row.created_at > self.policy.cutoff]
        stubs = self.storage.database.stubs([row.interaction_id for row in unexpired])
        segments = {interaction_id: stub.segment for interaction_id, stub in stubs.items()}
        alone = [row for row in unexpired if segments.get(row.interaction_id) != segment]
        # It is, or was, under a legal hold.
        return [row for row in alone if row.created_at > self._lost_stubs_until]

    def _refuse_alone(self, segment: str, positions: list[Position]) -> None:
        """Raise DamagedArchive if rows have no stub still, and no run is at work on the segment."""
        archive = self.storage.archive
        if segment in archive.marked():
            return  # the next run drops them
        found = 0
        for some in batched(positions, ROWS_AT_ONCE):
            self.run.step(self.report.rows)
            found += len(self._without_stub(archive.find(segment, some).values(), segment))
        if found:
            problem = f"{found} of its rows count as deleted, and are there"
            raise DamagedArchive(f"{segment}.json", problem)

    def _verify_stubs(self) -> None:
        """Note the segments that have fewer rows than stubs, if they do at a second look, too."""
        counts = self._count_stubs(None)
        if suspects := self._with_too_few(counts):
            for segment, missing in self._with_too_few(self._count_stubs(set(suspects))).items():
                self._note(
                    f"{segment}.json", f"{missing} rows that the database knows are not there"
                )

    def _count_stubs(self, segments: set[str] | None) -> Counter[str]:
        """The number of stubs by segment, of these segments or all."""
        counts: Counter[str] = Counter()
        for stubs in batched(self.storage.database.all_stubs(), ROWS_AT_ONCE):
            self.run.step(self.report.rows)
            counts.update(
                stub.segment
                for stub in stubs
                if stub.created_at > self.policy.cutoff
                and (segments is None or stub.segment in segments)
            )
        return counts

    def _with_too_few(self, counts: Counter[str]) -> dict[str, int]:
        """How many rows the segments lack that have fewer than these, by segment."""
        found = {}
        for segment, count in sorted(counts.items()):
            with suppress(DamagedArchive):  # which was noted
                manifest = self.storage.archive.manifest(segment)
                missing = count - (0 if manifest is None else manifest.count)
                if missing > 0:
                    found[segment] = missing
        return found

    def _note(self, name: str, problem: str) -> None:
        self.verification.problems.setdefault(name, problem)

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if not self.run.dry_run:
            self.storage.archive.files.write_document(NAME, asdict(self.record))


def _names(archive: Archive) -> list[str]:
    """The names of all segments, with and without a manifest, and of all documents, sorted."""
    return sorted([*_segments(archive), IDENTITY, *_documents(archive)])


def _segments(archive: Archive) -> Iterator[str]:
    for day in archive.days():
        for segments in archive.segments_and_lost(day):
            yield from segments


def _documents(archive: Archive) -> Iterator[str]:
    for folder in FOLDERS:
        yield from (f"{folder}/{file}" for file in archive.files.list(folder))
    if archive.files.read(holds.LOST_STUBS) is not None:
        yield holds.LOST_STUBS
