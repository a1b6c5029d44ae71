"""Copying all interactions from one storage to another, until both have the same.

# Note [Passes of a copy]

A pass reads both storages completely, side by side, and writes to the target what differs. Users
may go on writing to the source meanwhile, so there is another pass, until one finds no difference.
That one is the proof: all rows of both were read, compared and hashed. A pass does not depend on
earlier ones, so a run that was killed is simply repeated.

A pass begins with the stubs, then come the cold rows and then the hot ones. So an interaction that
has changed tiers in the source leaves its old place in the target before it gets its new one.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby

from chat.maintenance.compaction import Compaction
from chat.maintenance.erasure.known import Erasures
from chat.maintenance.holds import Holds
from chat.maintenance.identity import check_archive, confirm_archive
from chat.maintenance.migration import handing_over, marks
from chat.maintenance.migration.archive import copy_archive, strays
from chat.maintenance.migration.comparing import (
    PAGE,
    Digest,
    Row,
    Step,
    cold_rows,
    differing,
    hot_rows,
    pairs,
)
from chat.maintenance.migration.marks import Side
from chat.maintenance.migration.rows import Copied, Writer
from chat.maintenance.runs import Run
from storage import expiry
from storage.compat import batched
from storage.exceptions import StorageError
from storage.records.stubs import Stub, by_segment

PASSES = 5


class NotSettled(StorageError):
    """The source was changed during every pass."""


class RowsMissing(StorageError):
    """The source has stubs whose rows are not in its archive."""


def copy(
    source: Side,
    target: Side,
    run: Run,
    step: Callable[[int], None],
    report: Copied,
    *,
    overwrite: bool = False,
    hand_over: bool = False,
    even_if_erased: bool = False,
) -> None:
    """Make `target`, which nobody uses yet, a copy of `source`. Counts in `report` as it goes.

    Rows of users who were erased later, by the ledger of either archive, count as not there, unless
    `even_if_erased`. With `hand_over` the target then takes the place of the source. `step` is
    called between any two steps, with the number of rows read, and may raise.

    Raises NotSettled if the source was changed during each of PASSES passes, RowsMissing, and
    without `overwrite` TargetInUse. Whatever is raised, to repeat the call is to continue.
    """
    read = 0

    def count() -> None:
        nonlocal read
        step(read)
        read += PAGE

    if not overwrite:
        marks.check(source, target)
    shared = source.storage.archive is target.storage.archive
    if run.dry_run:
        if shared:
            handing_over.check_apart(target.storage)
        else:
            check_archive(target.storage, adopt=True)
        _pass(source, target, run, count, report, even_if_erased)
        return
    if shared:
        handing_over.set_apart(target.storage)
    else:
        # The segments are copied to the target's own archive.
        confirm_archive(target.storage, adopt=True)
    _copy_until_equal(source, target, run, count, report, even_if_erased)
    if hand_over and shared:
        handing_over.hand_over(source.storage, target.storage)
    marks.end(target)
    report.handed_over = hand_over


def _copy_until_equal(
    source: Side, target: Side, run: Run, step: Step, report: Copied, even_if_erased: bool
) -> None:
    databases = (source.storage.database, target.storage.database)
    pause = max(database.index_lag_seconds for database in databases)
    signed_at = -math.inf

    def step_and_sign() -> None:
        nonlocal signed_at
        if time.monotonic() >= signed_at + marks.SIGN_SECONDS:
            marks.begin(source, target)
            signed_at = time.monotonic()
        step()

    marks.begin(source, target)
    try:
        for _ in range(PASSES):
            if _pass(source, target, run, step_and_sign, report, even_if_erased):
                return
            time.sleep(pause)
    finally:
        with suppress(StorageError):
            marks.begin(source, target)
    raise NotSettled(
        f"{source.place} was changed during each of {PASSES} passes; {report.remaining} "
        "differences were copied in the last one. It needs a pause of writes: stop the servers, "
        "and run this again."
    )


def _pass(
    source: Side, target: Side, run: Run, step: Step, report: Copied, even_if_erased: bool
) -> bool:
    """Make one pass. Returns whether it has found both to be the same."""
    one = _Pass(source, target, run, step, report, even_if_erased)
    one.copy()
    report.passes += 1
    report.erased = one.erased
    report.remaining = one.differences
    here, there = one.here.days(), one.there.days()
    report.differing = differing(here, there)
    report.rows, report.sha256 = one.here.rows, one.here.sha256()
    report.days = len({key.split()[0] for key in here})
    return not one.differences and not report.differing


class _Pass:
    """One pass; see Note [Passes of a copy]."""

    def __init__(
        self,
        source: Side,
        target: Side,
        run: Run,
        step: Step,
        report: Copied,
        even_if_erased: bool,
    ) -> None:
        self._source, self._target = source.storage, target.storage
        self._place = source.place
        self._run = run
        self._step = step
        self._report = report
        self._cutoff = expiry.cutoff()  # as readers do, whatever time the run takes for now
        archives = {id(side.archive): side.archive for side in (self._source, self._target)}
        self._erasures = None if even_if_erased else Erasures(self._cutoff, *archives.values())
        self._writer = Writer(self._source, self._target, report, run.batch_size, self._erasures)
        self.here, self.there = Digest(), Digest()
        self.differences = 0
        self.erased = 0

    def copy(self) -> None:
        """Compare everything, and unless nothing is to be changed, write what differs."""
        self._report.expired = self._source.database.count_oldest(self._cutoff, 1_000_000)
        if self._source.archive is not self._target.archive and not self._run.dry_run:
            self._copy_archive()
        self._drop_stubs()
        if self._source.archive is not self._target.archive and not self._run.dry_run:
            self._remove_strays()
        self._copy_cold()
        self._check_archive()
        self._copy_hot()

    def _copy_archive(self) -> None:
        copied = copy_archive(
            self._source.archive, self._target.archive, self._step, self._erasures
        )
        self._report.segments += copied
        self.differences += copied

    def _drop_stubs(self) -> None:
        """Drop the target's stubs that the source does not have."""
        stubs = self._unexpired(self._target.database.all_stubs())
        for some in batched(stubs, PAGE):
            self._step()
            known = self._source.database.stubs([stub.interaction_id for stub in some])
            extra = [stub for stub in some if known.get(stub.interaction_id) != stub]
            self.differences += len(extra)
            if self._run.dry_run:
                continue
            for segment, those in by_segment(extra).items():
                ids = [stub.interaction_id for stub in those]
                self._report.deleted += self._target.database.drop_stubs(ids, segment)

    def _remove_strays(self) -> None:
        archive = self._target.archive
        compaction = Compaction(self._target, Holds.of(archive), self._cutoff)
        for segment in strays(self._source.archive, archive):
            self._step()
            marker = archive.mark(segment)
            compaction.compact(segment)
            archive.unmark([marker])

    def _copy_cold(self) -> None:
        pairs = self._pairs(cold_rows)
        missing = (here for here, there in pairs if here is not None and there is None)
        for segment, rows in groupby(missing, key=lambda row: row.segment):
            for batch in batched(rows, PAGE):
                self._writer.put_cold([row.interaction for row in batch], segment)

    def _check_archive(self) -> None:
        """Raise RowsMissing if there are more stubs than rows. Deletions meanwhile do no harm."""
        stubs = sum(1 for _ in self._unexpired(self._source.database.all_stubs()))
        if (missing := stubs - self.here.rows - self.erased) > 0:
            raise RowsMissing(
                f"{missing} archived interactions of {self._place} are not in the archive. If it "
                "uses another one, name it: --from-archive"
            )

    def _copy_hot(self) -> None:
        writer = self._writer
        for here, there in self._pairs(hot_rows):
            if here is None and there is not None:
                writer.remove(there.interaction)
            elif here is not None and there is None:
                writer.put(here.interaction)
            elif here is not None and there is not None and here.json != there.json:
                writer.replace(here.interaction)
        writer.flush()

    def _pairs(self, read: Callable[..., Iterator[Row]]) -> Iterator[tuple[Row | None, Row | None]]:
        """The pairs that differ, unless nothing is to be changed. Counts and hashes all pairs."""
        ours = filter(self._may_be_copied, read(self._source, self._cutoff, self._step))
        theirs = read(self._target, self._cutoff, self._step)
        for here, there in pairs(ours, theirs):
            self.here.add(here)
            self.there.add(there)
            if here is None or there is None or here.json != there.json:
                self.differences += 1
                if not self._run.dry_run:
                    yield here, there

    def _may_be_copied(self, row: Row) -> bool:
        if self._erasures is None or not self._erasures.cover(row.interaction):
            return True
        self.erased += 1
        if row.segment and not self._run.dry_run:  # a hot one is removed like any other extra row
            self._target.database.drop_stubs([row.interaction.interaction_id], row.segment)
        return False

    def _unexpired(self, stubs: Iterator[Stub]) -> Iterator[Stub]:
        return (stub for stub in stubs if stub.created_at > self._cutoff)
