"""Repeats a piece of work in a thread, beside the requests."""

import logging
import threading
import time
import weakref
from collections.abc import Callable

logger = logging.getLogger(__name__)


def repeat(do: Callable[[], bool], pause: float) -> bool:
    """Call a method in a thread until it returns False or its object no longer exists.

    `pause` is the time between two calls in seconds. Returns False if no thread could be started.
    """
    method = weakref.WeakMethod(do)

    def run() -> None:
        while (call := method()) is not None and _more(call):
            del call  # so that the object can be freed during the pause
            time.sleep(pause)

    try:
        threading.Thread(target=run, name="cache", daemon=True).start()
    except RuntimeError as error:  # the system has too many threads
        logger.warning("No thread for the cache could be started: %s", error)
        return False
    return True


def _more(call: Callable[[], bool]) -> bool:
    try:
        return call()
    except Exception:
        logger.exception("Work on the cache failed. It will be tried again.")
        return True
