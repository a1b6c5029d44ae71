"""A worker ends when its main process has gone, so that the next start finds the port free."""

import logging
import multiprocessing
import os
import signal
import threading
import time

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


def watch_parent() -> None:
    """Start the thread that ends this process, as SIGTERM does, once its parent was killed.

    The parent may be gone by now: the process that started this one has told who it is.
    """
    parent = multiprocessing.parent_process()
    pid = os.getppid() if parent is None else parent.pid
    threading.Thread(target=_watch, args=(pid,), name="orphans", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    logger.error("The main process of the server has gone, so this worker ends.")
    os.kill(os.getpid(), signal.SIGTERM)
