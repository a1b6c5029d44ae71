"""Forks of a process of tests."""

import os
import sys
from collections.abc import Callable


def fork(work: Callable[[], object]) -> int:
    """The process id of a child that does this work, and ends: with 0 if nothing was raised.

    Whatever is raised ends here: a child that left its test would run all that follow, too, beside
    its parent, and report each of them.
    """
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(f"in a fork: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        finally:
            os._exit(0)
    return child


def in_fork(work: Callable[[], object]) -> None:
    """Do this work in a child. Raises AssertionError if that raises something."""
    assert os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1]) == 0
