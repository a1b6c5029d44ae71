"""A main process that is killed before its worker looks who started it."""

import multiprocessing
import os
import signal
import time

from config import orphans

SECONDS = 300
"""For which a worker stays that does not notice."""


def work() -> None:
    """What a worker does that starts slowly."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while os.getppid() == parent.pid:
        time.sleep(0.01)
    orphans.watch_parent()
    time.sleep(SECONDS)


if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
    os.kill(os.getpid(), signal.SIGKILL)
