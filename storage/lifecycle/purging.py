"""Deleting what is older than all its days, from cold and hot storage, for good."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from storage.archive.holds import Holds
from storage.archive.manifests import Manifest
from storage.interface import Storage
from storage.lifecycle.compaction import Content, compact, examine, finish_interrupted
from storage.lifecycle.policy import Policy
from storage.lifecycle.runs import Run

PAGE = 100


@dataclass
class Purged:
    """What a run of purge_interactions has done."""

    finished: int = 0
    """Segments that an interrupted run or a deletion had left to be finished."""
    cold: int = 0
    """Interactions deleted from the archive."""
    segments: int = 0
    """Segments deleted whole."""
    hot: int = 0
    """Interactions deleted that were hot still."""
    held: int = 0
    """Interactions that would have been deleted, but are under a legal hold."""
    stubs: int = 0
    reclaimed_bytes: int = 0
    """Given back to the file system by the database."""
    remaining: int = 0


def purge(storage: Storage, policy: Policy, run: Run, report: Purged) -> None:
    """Delete what was created at or before `policy.gone_until`. Counts as it goes in `report`."""
    holds = Holds.of(storage.archive)
    if not run.dry_run:
        report.finished = finish_interrupted(storage, run, policy.gone_until)
    for segment, manifest in _expired_segments(storage, policy.gone_until):
        run.step(report.cold)
        if run.dry_run:
            content = examine(storage, segment, holds, policy.gone_until)
        else:
            content = _purge_segment(storage, segment, manifest, holds, policy.gone_until)
        report.cold += content.dropped
        report.held += content.held
        report.segments += not content.kept
    _purge_hot(storage, policy.gone_until, holds, run, report)
    if run.dry_run:
        return
    while stubs := storage.remove_expired_stubs_sync(policy.gone_until, run.batch_size):
        report.stubs += stubs
        run.step(report.cold + report.hot)
    report.reclaimed_bytes = storage.reclaim_sync()


def _expired_segments(storage: Storage, gone_until: datetime) -> Iterator[tuple[str, Manifest]]:
    for day in storage.archive.days():
        if day > gone_until.date():
            return
        for segment in storage.archive.segments(day):
            manifest = storage.archive.manifest(segment)
            if manifest is not None and manifest.oldest <= gone_until:
                yield segment, manifest


def _purge_segment(
    storage: Storage, segment: str, manifest: Manifest, holds: Holds, gone_until: datetime
) -> Content:
    marker = storage.archive.mark(segment)
    if manifest.newest <= gone_until and not holds.may_hold(manifest):
        storage.archive.remove(segment)
        content = Content(kept=0, dropped=manifest.count, held=0)
    else:
        content = compact(storage, segment, holds, gone_until)
    storage.archive.unmark([marker])
    return content


def _purge_hot(
    storage: Storage, gone_until: datetime, holds: Holds, run: Run, report: Purged
) -> None:
    after = None
    while page := storage.oldest_sync(gone_until, PAGE, after):
        run.step(report.cold + report.hot)
        after = (page[-1].created_at, page[-1].interaction_id)
        gone = [each for each in page if not holds.holds(each)]
        report.held += len(page) - len(gone)
        report.hot += len(gone) if run.dry_run else storage.remove_expired_sync(gone, gone_until)
