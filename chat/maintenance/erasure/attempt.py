"""One attempt at the first step of some erasures: removing everything of their users.

Sweeps are repeated until one finds nothing, because an index may lag and the user may still be
chatting; the first sweep is never the last.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from chat.maintenance.compaction import Compaction
from chat.maintenance.erasure import ledger, receipts
from chat.maintenance.erasure.ledger import Erasure
from chat.maintenance.erasure.removal import Removal, has_any_of, noting_failures
from chat.maintenance.holds import Holds
from chat.maintenance.runs import OutOfTime, Run
from storage.archive.pseudonyms import Sought
from storage.exceptions import DamagedArchive, StorageError
from storage.interface import Storage

SWEEPS = 5
"""Sweeps that may find something. If there is still something after them, the user is chatting."""

PAUSE_SECONDS = 0.5
"""How often a run that waits looks at its time limit."""


class UserHeld(StorageError):
    """The user, or a day with interactions of the user's, is under a legal hold. Lift it first."""


class UserActive(StorageError):
    """Every sweep found something new."""

    def __init__(self) -> None:
        super().__init__(
            "Interactions of the user keep coming in. Stop that, and erase the user again."
        )


@dataclass(frozen=True)
class _Gone:
    """Of a user the last sweep has found nothing."""

    sweeps: int
    swept_at: datetime
    """When the last sweep began."""


@dataclass
class Attempt:
    """An attempt at some pending erasures. One that fails does not keep others from being done."""

    storage: Storage
    run: Run
    erasures: Sequence[Erasure]
    found: dict[str, Counter[str]] = field(init=False)
    """What was deleted so far, by user and layer."""
    failed: dict[str, StorageError] = field(default_factory=dict)
    """Why users are not gone."""
    gone: dict[str, _Gone] = field(default_factory=dict)
    removed: list[Erasure] = field(default_factory=list)
    """The erasures of those who are gone, with their receipts."""

    def __post_init__(self) -> None:
        self.erasures = [replace(each, attempts=each.attempts + 1) for each in self.erasures]
        self.found = {user_of(each): Counter() for each in self.erasures}

    @property
    def sweeps(self) -> int:
        """Sweeps of those who are gone."""
        return sum(each.sweeps for each in self.gone.values())

    def remove(self, make_compaction: Callable[[], Compaction]) -> None:
        """Remove the users. Fills `removed`, also if it raises OutOfTime, and `failed`.

        The documents of erasures that are not removed say why, and what was deleted so far.
        """
        for erasure in self.erasures:  # so that an attempt that is killed counts, as the last one
            ledger.put(self.storage.archive, replace(erasure, problem=None))
        try:
            self._sweep_until_gone(make_compaction)
        except BaseException as error:
            if not isinstance(error, OutOfTime):
                self.gone.clear()  # if the lock is lost, another run may have gone on with them
            self._record()
            raise
        self._record()

    def _sweep_until_gone(self, make_compaction: Callable[[], Compaction]) -> None:
        with noting_failures(self.failed, self.found):
            compaction = make_compaction()
            for user_id in self.found:
                with noting_failures(self.failed, [user_id]):
                    self._refuse_held(user_id, compaction.holds)
            compaction.finish_interrupted(self.run, self._fail_those_in)
            removal = Removal(self.storage, self.run, compaction, self.found, self.failed)
            for sweeps in range(1, SWEEPS + 2):
                if users := self._left():
                    self._sweep(removal, users, sweeps)
            for user_id in self._left():
                self.failed[user_id] = UserActive()

    def _fail_those_in(self, segment: str, error: DamagedArchive) -> None:
        """Keep those from being gone who may have rows in a segment that cannot be compacted."""
        users = list(self.found)
        with suppress(DamagedArchive):
            if (manifest := self.storage.archive.manifest(segment)) is not None:
                users = list(manifest.holders(Sought(users)))
        for user_id in users:
            self.failed.setdefault(user_id, error)

    def _refuse_held(self, user_id: str, holds: Holds) -> None:
        """Raises UserHeld. What an attempt before the hold has begun is then undone, once."""
        try:
            refuse_held(self.storage, user_id, holds)
        except UserHeld as error:
            of_user = [each for each in self.erasures if user_of(each) == user_id]
            if any(each.attempts > 1 and each.problem != in_one_line(error) for each in of_user):
                self.storage.database.erasing_called_off(user_id)
            raise

    def _sweep(self, removal: Removal, users: list[str], sweeps: int) -> None:
        if sweeps > 1:
            self._let_settle(removal, users)
        before = {user_id: self.found[user_id].total() for user_id in users}
        swept_at = datetime.now(UTC)
        removal.sweep(users)
        for user_id in self._left():
            if sweeps > 1 and self.found[user_id].total() == before[user_id]:
                self.gone[user_id] = _Gone(sweeps, swept_at)

    def _let_settle(self, removal: Removal, users: list[str]) -> None:
        """Wait until a sweep finds what writes that the last one crossed have left."""
        settled_at = max(removal.settled_at.get(user_id, 0.0) for user_id in users)
        time.sleep(self.storage.database.index_lag_seconds)
        while (seconds := settled_at - time.monotonic()) > 0:
            self.run.step()
            time.sleep(min(seconds, PAUSE_SECONDS))

    def _left(self) -> list[str]:
        return [each for each in self.found if each not in self.gone and each not in self.failed]

    def _record(self) -> None:
        """Write the documents of the erasures."""
        with noting_failures(self.failed, list(self.gone)):
            copies = receipts.copies() if self.gone else {}
        removed = []
        counted = dict(self.found)
        for erasure in self.erasures:
            user_id = user_of(erasure)
            # If a user has several erasures, the first one tells what was found.
            counts = Counter(erasure.erased) + counted.pop(user_id, Counter())
            erasure = replace(erasure, erased=dict(counts))
            if user_id in self.gone and user_id not in self.failed:
                gone = self.gone[user_id]
                receipt = receipts.of_removed(erasure, gone.sweeps, gone.swept_at, copies)
                removed.append(replace(erasure, user_id=None, problem=None, receipt=receipt))
            else:
                self._keep(erasure, self.failed.get(user_id))
        ledger.enter_removed(self.storage.archive, removed)
        self.removed = removed

    def _keep(self, erasure: Erasure, error: StorageError | None) -> None:
        """Record what an attempt has erased, and what stopped it."""
        erasure = replace(erasure, problem=None if error is None else in_one_line(error))
        with suppress(StorageError):  # the archive itself may be what stopped it
            ledger.put(self.storage.archive, erasure)


def user_of(erasure: Erasure) -> str:
    """The user of a pending erasure."""
    assert erasure.user_id is not None
    return erasure.user_id


def refuse_held(storage: Storage, user_id: str, holds: Holds) -> None:
    """Raises UserHeld if a legal hold forbids erasing this user."""
    if hold := holds.on(user_id):
        raise UserHeld(
            f"The user is under a legal hold since {hold.since.date()}; it must be lifted first."
        )
    for day in sorted(holds.days):
        if has_any_of(storage, day, user_id):
            raise UserHeld(
                f"The user has interactions of {day}, a day that is under a legal hold; it must "
                "be lifted first."
            )


def in_one_line(error: Exception) -> str:
    """The message of an error."""
    return " ".join(str(error).split())
