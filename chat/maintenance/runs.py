"""One run of a maintenance command: its lock, its time limit and its progress.

# Note [Keeping the lock]

A thread renews the lock, so a step may take as long as it needs. A machine that was suspended loses
the lock all the same, and its run ends at the next step. What the run did in between may have
crossed with another run. So after archiving a batch it is checked that the segment is still as it
was written (`chat.maintenance.archiving`), and a segment is rewritten only if it is still as it was
read.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.db import connections

from chat.maintenance.identity import check_archive, confirm_archive
from storage.exceptions import StorageError, StorageUnavailable
from storage.interface import Storage

logger = logging.getLogger(__name__)

LOCK = "lifecycle"

LOCK_SECONDS = 60.0
"""How long a run that has died keeps others away; twice as long if its clock was ahead."""

WAIT_SECONDS = 0.5
"""How long a run that waits for another one pauses between two looks."""

KEEPER_SECONDS = 5.0
"""How often it is checked whether the lock is to be renewed."""


class LockHeld(StorageError):
    """Another run has the lock."""

    def __init__(self) -> None:
        super().__init__(
            "Another maintenance run is at work. To wait for its end: --wait SECONDS. If it has "
            f"died, its lock ends within {2 * LOCK_SECONDS:.0f} seconds."
        )


class LockLost(StorageError):
    """The lock has ended: the machine was suspended, or its clock was set forward."""

    def __init__(self) -> None:
        super().__init__(
            "The lock of this run has ended, and another run may be at work. What was done so far "
            "is complete; run it again."
        )


class OutOfTime(StorageError):
    """The time limit is reached. What was done is complete, and the next run goes on."""

    def __init__(self) -> None:
        super().__init__("The time is up; the next run goes on.")


class Run:
    """Holds the lock within its `with` block, unless it changes nothing (`dry_run`).

    A dry run only looks whether a run could begin, and is refused where that one would be. Ages are
    judged as of `now`, by default the present. After `max_seconds` the run ends at the next step.
    While another run is at work it waits up to `wait` seconds. `report` is called at each step with
    the number of what is done. With `lock=False` no lock is taken, and runs may overlap. With
    `confirm=False` a run does not check whether the archive belongs to the database.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        now: datetime | None = None,
        dry_run: bool = False,
        batch_size: int = 5000,
        max_seconds: float | None = None,
        wait: float = 0.0,
        report: Callable[[int], None] | None = None,
        lock: bool = True,
        confirm: bool = True,
    ) -> None:
        self.now = now or datetime.now(UTC)
        self.dry_run = dry_run
        self.batch_size = batch_size
        self._storage = storage
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._wait = wait
        self._report = report
        self._locks = lock and not dry_run
        self._looks = lock and dry_run
        self._confirms = confirm
        self._owner = secrets.token_hex(16)
        self._taken_at = _clocks()
        self._renewing = threading.Lock()
        self._has_ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="lock", daemon=True)
        self._stopped = False

    def __enter__(self) -> "Run":
        """Acquire the lock. Raises LockHeld, OutOfTime and ArchiveMismatch; a dry run does, too."""
        if self._locks:
            self._wait_until(self._acquire)
            try:
                if self._confirms:
                    confirm_archive(self._storage)
                self._start_keeper()
            except BaseException:
                self._release()
                raise
        elif self._looks:
            self._wait_until(self._is_free)
            if self._confirms:
                check_archive(self._storage)
        return self

    def __exit__(self, *exception: object) -> None:
        """Release the lock, if it is still held. If that fails, it ends by itself."""
        if self._locks:
            self._has_ended.set()
            self._keeper.join()
            self._release()

    def step(self, done: int = 0) -> None:
        """Call this between two steps. Each step must leave nothing half done.

        Raises LockLost if another run may be at work, and OutOfTime when the time is up.
        """
        if self._report is not None:
            self._report(done)
        self.check_time()
        if self._locks:
            self._keep_lock()

    def check_time(self) -> None:
        """Raise OutOfTime when the time is up. For a long step, which may be left at any point."""
        if self.is_over():
            raise OutOfTime

    def is_over(self) -> bool:
        """Whether the time is up."""
        is_late = self._deadline is not None and time.monotonic() >= self._deadline
        return self._stopped or is_late

    def require(self, seconds: float) -> None:
        """Raise OutOfTime if the run is to end within that time: call it before a long step."""
        if self._deadline is not None and time.monotonic() + seconds > self._deadline:
            raise OutOfTime

    def stop(self) -> None:
        """End at the next step, as if the time limit were reached."""
        self._stopped = True

    def _wait_until(self, can_begin: Callable[[], bool]) -> None:
        waits_until = time.monotonic() + self._wait
        while not can_begin():
            if time.monotonic() >= waits_until:
                raise LockHeld
            self.check_time()
            time.sleep(WAIT_SECONDS)

    def _acquire(self) -> bool:
        self._taken_at = _clocks()
        return self._storage.database.acquire_lock(LOCK, self._owner, LOCK_SECONDS)

    def _is_free(self) -> bool:
        return self._storage.database.lock_owner(LOCK, LOCK_SECONDS) is None

    def _release(self) -> None:
        try:
            self._storage.database.release_lock(LOCK, self._owner)
        except StorageError as problem:
            logger.warning(
                "The lock of a run that has ended keeps others away for up to %.0f seconds: %s",
                LOCK_SECONDS,
                problem,
            )

    def _start_keeper(self) -> None:
        try:
            self._keeper.start()
        except RuntimeError as error:
            raise StorageUnavailable(
                "The system could start no thread for the lock; try again."
            ) from error

    def _keep(self) -> None:
        try:
            while not self._has_ended.wait(KEEPER_SECONDS):
                try:
                    self._keep_lock()
                except StorageError as error:  # the next step fails by it, unless it is over then
                    logger.warning("The lock of this run was not renewed: %s", error)
        finally:
            connections.close_all()

    def _keep_lock(self) -> None:
        with self._renewing:
            if self._age() < LOCK_SECONDS / 3:
                return
            taken_at = _clocks()
            is_own = self._storage.database.acquire_lock(LOCK, self._owner, LOCK_SECONDS)
            # Had it ended before it was renewed, another run may have come and gone.
            if not is_own or self._age() >= LOCK_SECONDS:
                raise LockLost
            self._taken_at = taken_at

    def _age(self) -> float:
        """Seconds since the lock was acquired or renewed, by the clock that shows more."""
        return max(now - then for now, then in zip(_clocks(), self._taken_at, strict=True))


def is_at_work(storage: Storage) -> bool:
    """Whether a run has the lock now. Raises StorageError."""
    return storage.database.lock_owner(LOCK, LOCK_SECONDS) is not None


def _clocks() -> tuple[float, float]:
    """Two clocks: one may stand still while the machine sleeps, the other one can be set back."""
    return time.monotonic(), time.time()
