"""Handling signals in commands that write."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from storage.exceptions import StorageError


@contextmanager
def handled(signum: int, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let `handler` handle a signal within this block. In other threads it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signum, handler)
    try:
        yield
    finally:
        signal.signal(signum, before)


@contextmanager
def ctrl_c() -> Iterator[None]:
    """Make sure that Ctrl-C in this block raises KeyboardInterrupt.

    SQLite can call Python functions, such as those that Django defines. An exception raised in one
    of them is dropped by sqlite3, which reports a database error instead. So a StorageError after
    Ctrl-C is turned into KeyboardInterrupt.
    """
    pressed = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(signum, frame)

    try:
        with handled(signal.SIGINT, interrupt):
            yield
    except StorageError as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
