"""Erasing a person from every layer, looking again, and a receipt only if all is confirmed.

# Note [Looking again]

A look goes through hot storage, the archive, the cache and what else is kept of a person, and
deletes what it finds. Looks are repeated until one finds nothing, because an index may lag, and
because the person may be chatting on; the first look never is the last. Each step can be repeated,
so an erasure that was cut short is simply done again.

Bytes of what was deleted may be left in the database's files. They go in one step for all users of
a run, since it may take as long as the database is large; only then are receipts written.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from chat.maintenance.compaction import compact, finish_interrupted
from chat.maintenance.erasure import accounts, ledger
from chat.maintenance.erasure.ledger import Erasure
from chat.maintenance.holds import Holds
from chat.maintenance.identity import confirm_archive
from chat.maintenance.policy import Policy
from chat.maintenance.runs import LockLost, OutOfTime, Run
from storage.archive import names
from storage.archive.lists import position
from storage.backups import backups
from storage.exceptions import DamagedArchive, StorageError
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.json import format_time

ROWS_AT_ONCE = 100

LOOKS = 5
"""Looks that may find something; a person who is still there after them is chatting on."""


class UserHeld(StorageError):
    """The user, or a day with interactions of the user's, is under a legal hold. Lift it first."""


class UserActive(StorageError):
    """Look after look found something new."""

    def __init__(self) -> None:
        super().__init__(
            "Interactions of the user keep coming in. Stop that, and erase the user again."
        )


@dataclass
class Erased:
    """What a run has erased, by layer."""

    counts: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    erasures: list[dict[str, Any]] = field(default_factory=list)
    """Those that are done, as they may be shown."""
    remaining: int = 0


@dataclass(frozen=True)
class _Gone:
    """Of whom a look has found nothing any more."""

    erasure: Erasure
    looks: int
    looked_at: datetime


def request(storage: Storage, user_id: str) -> Erasure:
    """Record that a user is to be erased; a repeat gives the one that is pending. Raises UserHeld.

    From here on it outlives this process: `erase_pending` does what is left.
    """
    confirm_archive(storage)
    refuse_held(storage, user_id)
    return ledger.request(storage.archive, user_id)


def attempt(
    storage: Storage, erasure: Erasure, policy: Policy, run: Run, report: Erased
) -> Erasure:
    """Erase the user of a pending erasure; gives it with its receipt.

    Raises UserHeld, UserActive and whatever keeps a layer from confirming; the erasure is pending
    still, then, and says why.
    """
    current = ledger.take_up(storage.archive, erasure.erasure_id)
    if current is None:  # another run has done it since
        return ledger.find(storage.archive, erasure.erasure_id) or erasure
    gone = _removed(storage, current, policy, run, report)
    run.require(storage.database.scrub_seconds())
    return _finished(storage, [gone], report)[0]


def erase_pending(storage: Storage, policy: Policy, run: Run, report: Erased) -> list[str]:
    """Erase all users that are to be erased; gives a line for each that could not be.

    One that fails keeps no other from being done. When the time is up, those of whom nothing is
    left get their receipts still; then raises OutOfTime, unless there are lines to give.
    """
    problems: list[str] = []
    gone: list[_Gone] = []
    erasure_ids = ledger.pending_ids(storage.archive)
    report.remaining = len(erasure_ids)
    stopped: OutOfTime | None = None
    for erasure_id in erasure_ids:
        try:
            run.step(len(gone))
            erasure = ledger.take_up(storage.archive, erasure_id)
            if erasure is None:
                report.remaining -= 1
            else:
                gone.append(_removed(storage, erasure, policy, run, report))
        except LockLost:
            raise
        except OutOfTime as error:
            stopped = error
            break
        except StorageError as error:
            problems.append(f"Erasure {erasure_id}: {_in_one_line(error)}")
    if gone:
        report.remaining -= len(_finished(storage, gone, report))
    ledger.tidy(storage.archive)
    if stopped is not None and not problems:
        raise stopped
    return problems


def pending(storage: Storage) -> list[str]:
    """The users of whom it was asked and who are not erased yet."""
    return [each.user_id for each in ledger.pending(storage.archive) if each.user_id is not None]


def refuse_held(storage: Storage, user_id: str) -> None:
    """Raises UserHeld if a legal hold forbids to erase this user."""
    holds = Holds.of(storage.archive)
    if hold := holds.find("user", user_id):
        raise UserHeld(
            f"The user is under a legal hold since {hold.since.date()}; it must be lifted first."
        )
    for day in sorted(holds.days):
        if _has_any_of(storage, day, user_id):
            raise UserHeld(
                f"The user has interactions of {day}, a day that is under a legal hold; it must "
                "be lifted first."
            )


def count(storage: Storage, user_id: str) -> Counter[str]:
    """How many interactions an erasure would find, hot and cold. Raises UserHeld."""
    refuse_held(storage, user_id)
    found: Counter[str] = Counter()
    for rows in _hot(storage, user_id):
        found["hot"] += len(rows)
    for segment in segments_of(storage, user_id):
        found["cold"] += len(_ids_in(storage, segment, user_id))
    return +found


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
    newest = storage.hot_of_user(user_id, 1, (end, ""))
    if newest and newest[0].created_at.date() == day:
        return True
    segments = _segments_of_day(storage, day, user_id)
    return any(_ids_in(storage, segment, user_id) for segment in segments)


def _removed(storage: Storage, erasure: Erasure, policy: Policy, run: Run, report: Erased) -> _Gone:
    """Look, and look again, until nothing is found. How far it came is kept with the erasure."""
    erasure = replace(erasure, attempts=erasure.attempts + 1)
    ledger.put(storage.archive, erasure)
    found: Counter[str] = Counter()
    try:
        assert erasure.user_id is not None  # it is pending
        refuse_held(storage, erasure.user_id)
        finish_interrupted(storage, run, policy.gone_until)
        looks, looked_at = _look_until_gone(storage, erasure.user_id, policy, run, found)
    except BaseException as error:
        _keep(storage, _with(erasure, found), error)
        raise
    finally:
        report.counts += found
    report.looks += looks
    erasure = _with(erasure, found)
    ledger.put(storage.archive, erasure)  # should the time be up before the receipt
    return _Gone(erasure, looks, looked_at)


def _look_until_gone(
    storage: Storage, user_id: str, policy: Policy, run: Run, found: Counter[str]
) -> tuple[int, datetime]:
    """How many looks it took, and when the last one began. Counts as it goes in `found`."""
    looks = 0
    while looks <= LOOKS:
        if looks:
            time.sleep(storage.database.index_lag_seconds)
        before = found.total()
        looked_at = datetime.now(UTC)
        _look(storage, user_id, policy, run, found)
        looks += 1
        if looks > 1 and found.total() == before:
            return looks, looked_at
    raise UserActive


def _finished(storage: Storage, gone: list[_Gone], report: Erased) -> list[Erasure]:
    """Leave no bytes of them in the database's files either, and write the receipts."""
    try:
        storage.database.scrub()
        if not storage.database.holds_accounts:  # else it is the same database
            accounts.scrub()
        copies = backups.copies()
    except StorageError as error:
        for each in gone:
            _keep(storage, each.erasure, error)
        raise
    finished = []
    for each in gone:
        done = ledger.finish(storage.archive, each.erasure, _receipt(each, copies))
        finished.append(done)
        report.erasures.append(done.as_record())
    return finished


def _receipt(gone: _Gone, copies: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "erased": gone.erasure.erased,
        "attempts": gone.erasure.attempts,
        "looks": gone.looks,
        # Not now: what was saved since that look, if anything, is there still.
        "finished_at": format_time(gone.looked_at),
        "copies": copies,
        "copies_gone_by": max((copy["expires_at"] for copy in copies), default=None),
    }


def _with(erasure: Erasure, found: Counter[str]) -> Erasure:
    return replace(erasure, erased=dict(Counter(erasure.erased) + found))


def _keep(storage: Storage, erasure: Erasure, error: BaseException) -> None:
    """Record what an attempt has erased, and what kept it from going on."""
    if isinstance(error, StorageError) and not isinstance(error, LockLost | OutOfTime):
        erasure = replace(erasure, problem=_in_one_line(error))
    with suppress(StorageError):  # what kept it may be the archive itself
        ledger.put(storage.archive, erasure)


def _look(storage: Storage, user_id: str, policy: Policy, run: Run, found: Counter[str]) -> None:
    """Delete what there is of a user. Counts as it goes in `found`, by layer."""
    for rows in _hot(storage, user_id):
        run.step(found.total())
        found["hot"] += storage.erase_hot(rows, user_id)
    for day in storage.archive.days():
        run.step(found.total())
        _refuse_lost_manifests(storage, day)
        for segment in _segments_of_day(storage, day, user_id):
            run.step(found.total())
            found["cold"] += _erase_cold(storage, segment, user_id, policy)
    run.step(found.total())
    found.update(storage.forget_user(user_id))
    found.update(accounts.forget_user(user_id))


def _hot(storage: Storage, user_id: str) -> Iterator[list[ChatInteraction]]:
    """A user's hot interactions, some at a time, newest first; those that come in are left out."""
    before = None
    while rows := storage.hot_of_user(user_id, ROWS_AT_ONCE, before):
        yield rows
        before = position(rows[-1])


def _refuse_lost_manifests(storage: Storage, day: date) -> None:
    """Raises DamagedArchive if there are rows of which no manifest says whose they are.

    What interrupted runs have left without one is gone by now.
    """
    known = storage.archive.segments(day)
    for file in storage.archive.files.list(day.isoformat()):
        segment = names.segment_of(day, file)
        if segment and segment not in known:
            raise DamagedArchive(
                names.manifest_of(segment), "it is missing, and its rows are there"
            )


def _erase_cold(storage: Storage, segment: str, user_id: str, policy: Policy) -> int:
    ids = _ids_in(storage, segment, user_id)
    if ids:
        marker = storage.archive.mark(segment)
        storage.database.drop_stubs(ids, segment)
        compact(storage, segment, Holds.of(storage.archive), policy.gone_until)
        storage.archive.unmark([marker])
    return len(ids)


def _ids_in(storage: Storage, segment: str, user_id: str) -> list[str]:
    return [
        each.interaction_id for each in storage.archive.rows(segment) if each.user_id == user_id
    ]


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
