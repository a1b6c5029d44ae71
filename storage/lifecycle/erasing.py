"""Erasing a person from every layer, looking again, and a receipt only if all is confirmed.

# Note [Looking again]

A look goes through hot storage, the archive, the cache and what else is kept of a person, and
deletes what it finds. It is repeated until a look finds nothing, because an index may lag, and
because the person may be chatting on. Each step can be repeated, so an erasure that was cut short
is simply done again.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from storage.archive import ledger
from storage.archive.holds import Holds
from storage.archive.ledger import Erasure
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.lifecycle import accounts, backups
from storage.lifecycle.compaction import compact, finish_interrupted
from storage.lifecycle.policy import Policy
from storage.lifecycle.runs import LockLost, OutOfTime, Run
from storage.records import format_time

ROWS_AT_ONCE = 100

LOOKS = 5
"""Looks that may find something; a person who is still there after them is chatting on."""


class UserHeld(StorageError):
    """The user, or a day with interactions of the user's, is under a legal hold. Lift it first."""


class UserActive(StorageError):
    """Look after look found something new."""


@dataclass
class Erased:
    """What a run has erased, by layer."""

    counts: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    remaining: int = 0


def erase(storage: Storage, erasure: Erasure, policy: Policy, run: Run, report: Erased) -> Erasure:
    """Erase the user of a pending erasure; gives it with its receipt.

    Raises UserHeld, UserActive and whatever keeps a layer from confirming; the erasure is pending
    still, then.
    """
    user_id = erasure.user_id
    if user_id is None:
        return erasure
    refuse_held(storage, user_id)
    finish_interrupted(storage, run, policy.gone_until)
    for _ in range(LOOKS):
        found = _look(storage, user_id, policy, run)
        report.counts += found
        report.looks += 1
        if not found.total():
            storage.scrub_sync()
            return ledger.finish(storage.archive, erasure, _receipt(report))
        time.sleep(storage.index_lag_seconds)
    raise UserActive("The user is still being written to; stop that, and run it again.")


def request(storage: Storage, user_id: str) -> Erasure:
    """Record that a user is to be erased; a repeat gives the one that is pending. Raises UserHeld.

    From here on it outlives this process: `erase_pending` does what is left.
    """
    refuse_held(storage, user_id)
    return ledger.request(storage.archive, user_id)


def pending(storage: Storage) -> list[str]:
    """The users of whom it was asked and who are not erased yet."""
    return [each.user_id for each in ledger.pending(storage.archive) if each.user_id is not None]


def erase_pending(storage: Storage, policy: Policy, run: Run, report: Erased) -> list[str]:
    """Erase all users that are to be erased; gives a line for each that could not be.

    One that fails keeps no other from being done.
    """
    problems = []
    erasures = list(ledger.pending(storage.archive))
    report.remaining = len(erasures)
    for erasure in erasures:
        try:
            attempt(storage, erasure, policy, run, report)
        except (LockLost, OutOfTime):
            raise
        except StorageError as error:
            problems.append(f"{erasure.erasure_id}: {error}")
        else:
            report.remaining -= 1
    return problems


def attempt(
    storage: Storage, erasure: Erasure, policy: Policy, run: Run, report: Erased
) -> Erasure:
    """As `erase`; what has kept it from being done is recorded with the erasure."""
    try:
        return erase(storage, erasure, policy, run, report)
    except (LockLost, OutOfTime):
        raise
    except StorageError as error:
        ledger.put(storage.archive, replace(erasure, problem=str(error)))
        raise


def refuse_held(storage: Storage, user_id: str) -> None:
    """Raises UserHeld if a legal hold forbids to erase this user."""
    holds = Holds.of(storage.archive)
    if user_id in holds.users:
        raise UserHeld("The user is under a legal hold; lift it first.")
    for day in sorted(holds.days):
        if _has_any_of(storage, day, user_id):
            raise UserHeld(
                f"The user has interactions of {day}, a day that is under a legal hold; "
                "lift it first."
            )


def count(storage: Storage, user_id: str) -> Counter[str]:
    """What `erase` would find of a user, at the first look, in hot and in cold storage."""
    found: Counter[str] = Counter()
    before = None
    while rows := storage.hot_of_user_sync(user_id, ROWS_AT_ONCE, before):
        found["hot"] += len(rows)
        before = (rows[-1].created_at, rows[-1].interaction_id)
    for segment in segments_of(storage, user_id):
        found["cold"] += len(_ids_in(storage, segment, user_id))
    return found


def segments_of(storage: Storage, user_id: str) -> Iterator[str]:
    """The segments that may have rows of a user."""
    for day in storage.archive.days():
        yield from _segments_of_day(storage, day, user_id)


def _segments_of_day(storage: Storage, day: date, user_id: str) -> Iterator[str]:
    for segment in storage.archive.segments(day):
        manifest = storage.archive.manifest(segment)
        if manifest is not None and manifest.may_hold(user_id):
            yield segment


def _has_any_of(storage: Storage, day: date, user_id: str) -> bool:
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
    newest = storage.hot_of_user_sync(user_id, 1, (end, ""))
    if newest and newest[0].created_at.date() == day:
        return True
    segments = _segments_of_day(storage, day, user_id)
    return any(_ids_in(storage, segment, user_id) for segment in segments)


def _look(storage: Storage, user_id: str, policy: Policy, run: Run) -> Counter[str]:
    """Delete what there is of a user; how much, by layer."""
    found: Counter[str] = Counter()
    found["hot"] = _erase_hot(storage, user_id, run)
    found["cold"] = _erase_cold(storage, user_id, policy, run)
    found.update(storage.forget_user_sync(user_id))
    found.update(accounts.forget_user(user_id))
    return +found


def _erase_hot(storage: Storage, user_id: str, run: Run) -> int:
    erased = 0
    while rows := storage.hot_of_user_sync(user_id, ROWS_AT_ONCE):
        run.step(erased)
        erased += storage.erase_hot_sync(rows, user_id)
    return erased


def _erase_cold(storage: Storage, user_id: str, policy: Policy, run: Run) -> int:
    holds = Holds.of(storage.archive)
    erased = 0
    for segment in list(segments_of(storage, user_id)):
        run.step(erased)
        ids = _ids_in(storage, segment, user_id)
        if not ids:
            continue
        marker = storage.archive.mark(segment)
        storage.drop_stubs_sync(ids, segment)
        compact(storage, segment, holds, policy.gone_until)
        storage.archive.unmark([marker])
        erased += len(ids)
    return erased


def _ids_in(storage: Storage, segment: str, user_id: str) -> list[str]:
    return [
        each.interaction_id for each in storage.archive.rows(segment) if each.user_id == user_id
    ]


def _receipt(report: Erased) -> dict[str, Any]:
    copies = backups.copies()
    return {
        "erased": dict(report.counts),
        "looks": report.looks,
        "finished_at": format_time(datetime.now(UTC)),
        "copies": copies,
        "copies_gone_by": max((copy["expires_at"] for copy in copies), default=None),
    }
