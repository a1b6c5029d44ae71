"""Work that goes on beside requests for as long as there is some."""

import logging
import threading
import time
import weakref
from collections.abc import Callable

logger = logging.getLogger(__name__)


def repeat(do: Callable[[], bool], pause: float) -> bool:
    """Call a method again and again in a thread, until it gives False or its object is gone.

    `pause` is in seconds, between two calls. False if no thread could be started.
    """
    method = weakref.WeakMethod(do)

    def run() -> None:
        while (call := method()) is not None and _more(call):
            del call  # the pause keeps no object alive
            time.sleep(pause)

    try:
        threading.Thread(target=run, name="cache", daemon=True).start()
    except RuntimeError as error:  # the system has no thread to give
        logger.warning("No thread for the cache: %s", error)
        return False
    return True


def _more(call: Callable[[], bool]) -> bool:
    try:
        return call()
    except Exception:
        logger.exception("The cache will be tried again.")
        return True
