"""Handling Ctrl-C in commands that write."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from storage.exceptions import StorageError


@contextmanager
def ctrl_c() -> Iterator[None]:
    """Make sure that Ctrl-C in this block raises KeyboardInterrupt.

    SQLite calls Python functions, such as SHA256 for an index. An exception raised in one of them
    is dropped by sqlite3, which reports a database error instead. So a StorageError after Ctrl-C
    is turned into KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    pressed = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(signum, frame)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except StorageError as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
