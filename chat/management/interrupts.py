"""Ctrl-C in commands that write."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from storage.exceptions import StorageError


@contextmanager
def ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C, whatever is under way.

    sqlite3 drops what is raised in a function that SQLite calls, such as SHA256 of an index, and
    reports an error of the database instead. Hence a StorageError after Ctrl-C is the interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives signals to the main thread only
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
