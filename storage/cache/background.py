"""Work that goes on beside requests for as long as there is some."""

import threading
import time
import weakref
from collections.abc import Callable


def repeat(do: Callable[[], bool], pause: float) -> None:
    """Call a method again and again in a thread, until it gives False or its object is gone.

    `pause` is in seconds, between two calls.
    """
    method = weakref.WeakMethod(do)

    def run() -> None:
        while (call := method()) is not None and call():
            del call  # the pause keeps no object alive
            time.sleep(pause)

    threading.Thread(target=run, name="cache", daemon=True).start()
