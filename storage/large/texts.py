"""Objects with the large texts of interactions, in the archive's folder or bucket.

See Note [Large objects].
"""

import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from storage.archive.files import Files
from storage.archive.pseudonyms import key_id, pseudonym
from storage.exceptions import DamagedArchive, StorageError, StorageUnavailable
from storage.large.packing import Unreadable, most_bytes, packed, unpacked
from storage.records.texts import INLINE_MAX_BYTES, TextObject

__all__ = ["INLINE_MAX_BYTES", "LargeTexts", "TextObject"]

logger = logging.getLogger(__name__)

SIDE_BY_SIDE = 4
"""Objects that a process reads at the same time for lists, or writes for batches."""

CALLS_AT_ONCE = 4
"""Callers of a process that wait for objects: fewer than the threads of a server, so that those
who need none go on while S3 hangs."""

CALL_WAITS_SECONDS = 1
"""How long a caller waits for one of these places; not at all while nobody gets anything, since
those who wait have a thread, too."""

LONG_SECONDS = 1.5
"""Of a removal that failed: so long, and S3 hangs. To wait for a place takes less."""

T = TypeVar("T")
R = TypeVar("R")

Wanted = tuple[str, str, TextObject]
"""The ids of a user and of an interaction, and what its row keeps."""

Texts = tuple[str, str]
"""A message and a response."""

Unwritten = tuple[str, str, str, str]
"""The ids of a user and of an interaction, a message and a response."""


@dataclass(frozen=True)
class _Process:
    """What all threads of this process share, whatever storages they use."""

    calls: threading.BoundedSemaphore
    threads: ThreadPoolExecutor
    is_stalled: threading.Event
    """Set once somebody has waited in vain for a place, until a call succeeds."""


def _make_process() -> None:
    global _process
    threads = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="large-texts")
    _process = _Process(threading.BoundedSemaphore(CALLS_AT_ONCE), threads, threading.Event())


_process: _Process
_make_process()
os.register_at_fork(after_in_child=_make_process)


class LargeTexts:
    """Writes, reads and removes the objects with texts.

    Every method but `remove` may raise StorageUnavailable; those that write, StorageFull.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def write(self, user_id: str, interaction_id: str, message: str, response: str) -> TextObject:
        """Write an object under a new name. Once this returns, a power loss does not undo it."""
        with _place():
            return self._write((user_id, interaction_id, message, response))

    def write_many(self, wanted: Sequence[Unwritten]) -> list[TextObject]:
        """The same for several, SIDE_BY_SIDE at a time. If one cannot be written, none is left."""
        if len(wanted) < 2:
            return [self.write(*each) for each in wanted]
        failures: list[StorageError] = []

        def write(each: Unwritten) -> TextObject | None:
            if failures:  # the others need not wait for the same
                return None
            try:
                return self._write(each)
            except StorageError as error:
                failures.append(error)
                return None

        with _place():
            written = side_by_side(write, wanted)
        if failures:
            self.remove(kept for kept in written if kept is not None)
            raise failures[0]
        return [kept for kept in written if kept is not None]

    def _write(self, wanted: Unwritten) -> TextObject:
        user_id, interaction_id, message, response = wanted
        texts = message.encode(), response.encode()
        content = packed(interaction_id, user_id, *texts)
        kept = TextObject(
            version=secrets.token_hex(16),
            bytes=sum(map(len, texts)),
            characters=len(message) + len(response),
            sha256=hashlib.sha256(content).hexdigest(),
            place=f"{key_id()}/{pseudonym(user_id)}",
        )
        self._files.write(kept.name, content)
        return kept

    def read(self, user_id: str, interaction_id: str, kept: TextObject) -> Texts | None:
        """The message and the response. None if the object is gone: look at the row again.

        Raises DamagedArchive if it is not the one that was written.
        """
        with _place():
            return self._read((user_id, interaction_id, kept))

    def read_many(self, wanted: Sequence[Wanted]) -> list[Texts | None]:
        """The same for several, SIDE_BY_SIDE at a time. All texts are in memory at once."""
        if len(wanted) < 2:
            return [self.read(*each) for each in wanted]
        with _place():
            return side_by_side(self._read, wanted)

    def read_each(self, wanted: Iterable[Wanted]) -> list[Texts | DamagedArchive | None]:
        """As `read_many`, but a damaged object does not stop the others: the error is returned."""

        def read(each: Wanted) -> Texts | DamagedArchive | None:
            try:
                return self._read(each)
            except DamagedArchive as error:
                return error

        return side_by_side(read, list(wanted))

    def remove(self, removed: Iterable[TextObject]) -> None:
        """Delete the objects of rows that are gone, or name others.

        A failure is logged, and the nightly run deletes the object; so it does with all others,
        after a failure that took long: each would take as long again.
        """
        for kept in removed:
            begun = time.monotonic()
            try:
                with _place():
                    self._files.delete(kept.name)
            except StorageError as error:
                reason = type(error.__cause__ or error).__name__
                logger.warning("An object with texts was left to the nightly run: %s.", reason)
                if time.monotonic() - begun > LONG_SECONDS:
                    return

    def _read(self, wanted: Wanted) -> Texts | None:
        user_id, interaction_id, kept = wanted
        bound = most_bytes(kept.bytes)
        content = self._files.read(kept.name, 0, bound + 1)
        if content is None:
            return None
        if hashlib.sha256(content).hexdigest() != kept.sha256:
            problem = "its length" if len(content) > bound else "its checksum"
            raise DamagedArchive(kept.name, f"{problem} is not what the row says")
        try:
            head, message, response = unpacked(content, kept.bytes)
        except Unreadable as error:
            raise DamagedArchive(kept.name, str(error)) from None
        if (head.user_id, head.interaction_id) != (user_id, interaction_id):
            raise DamagedArchive(kept.name, "it has the texts of another interaction")
        return message, response


def side_by_side(do: Callable[[T], R], values: Sequence[T]) -> list[R]:
    """What a function returns for each, SIDE_BY_SIDE at a time in a process."""
    return list(_process.threads.map(do, values))


@contextmanager
def _place() -> Iterator[None]:
    process = _process
    if not process.calls.acquire(timeout=0 if process.is_stalled.is_set() else CALL_WAITS_SECONDS):
        process.is_stalled.set()
        raise StorageUnavailable("Too many calls are waiting for large texts. Try again.")
    try:
        yield
        process.is_stalled.clear()
    finally:
        process.calls.release()
