"""Keeps the requests of a worker on one core, for as long as other programs leave it that core.

Only one thread of a process runs Python at a time. If its threads are spread over idle cores, each
handing over wakes a core, which can cost more than a read by id (docs/decisions/0057). On one core
nothing is woken. Threads that work in the background keep all cores.

Linux moves other programs away from a busy thread, but not if they are bound to the same core, or
if there is no idle one. So once a second this looks at who uses the core. If others take much of
it, the worker has all cores again for a while, and then tries the one that is used least.
"""

import os
import random
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LOOK_SECONDS = 1.0

SHARE_MOST = 0.25
"""Of a core. A worker and others share it if both use more."""

LOOKS = 3
"""After how many looks in a row at which its core was shared a worker goes."""

PAUSE_SECONDS = (1, 64)
"""How long a worker has all cores: the first time, and at most. Each time is twice the last."""

TICKS = os.sysconf("SC_CLK_TCK")
"""Units of time in a second, in /proc/stat."""

IN_USE = (1, 2, 3, 8)
"""Fields of a core in /proc/stat (proc(5)): user, nice, system, and what went to other machines."""


def keep(workers: int) -> None:
    """Start the thread that does it, if there is a choice, and a core for each of the workers."""
    if sys.platform == "linux" and len(os.sched_getaffinity(0)) >= max(workers, 2):
        threading.Thread(target=_work, name="one core", daemon=True).start()


def _work() -> None:
    with suppress(OSError, LookupError):  # a system that forbids it, or tells nothing in /proc
        Cores(os.sched_getaffinity(0)).take_turns()


class Cores:
    """The cores that this process may use, by their numbers."""

    def __init__(self, numbers: set[int]) -> None:
        self.numbers = numbers

    def take_turns(self) -> None:
        """Keep to one core until others want it, then use all, for ever."""
        pause = PAUSE_SECONDS[0]
        while True:
            started = time.monotonic()
            self.stay_on(self._least_used())
            if time.monotonic() - started > PAUSE_SECONDS[1]:
                pause = PAUSE_SECONDS[0]
            time.sleep(pause * uneven())
            pause = min(pause * 2, PAUSE_SECONDS[1])

    def stay_on(self, core: int) -> None:
        """Keep to this core until others want it, too. In the end, all may be used."""
        shared = 0
        placed: set[int] = set()
        try:
            while shared < LOOKS:
                placed = self._place({core}, placed)  # who has started meanwhile, too
                shared = shared + 1 if is_shared(core) else 0
        finally:
            self._place(self.numbers, set())

    def _least_used(self) -> int:
        before = in_use()
        time.sleep(LOOK_SECONDS * uneven())
        now, taken = in_use(), of_other_workers()
        return min(self.numbers, key=lambda core: (taken.count(core), now[core] - before[core]))

    def _place(self, cores: set[int], placed: set[int]) -> set[int]:
        """Let threads other than `placed` use these cores, and background threads all of them.

        Returns all threads.
        """
        background = {thread.native_id for thread in in_background()}
        threads = {int(task.name) for task in Path("/proc/self/task").iterdir()}
        for thread in threads - placed:
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(thread, self.numbers if thread in background else cores)
        return threads


def is_shared(core: int) -> bool:
    """Whether, in the next second, both this process and others use much of the core."""
    began, own_before, all_before = time.monotonic(), of_requests(), in_use()[core]
    time.sleep(LOOK_SECONDS)
    own, used = of_requests() - own_before, in_use()[core] - all_before
    return min(own, used - own) > SHARE_MOST * (time.monotonic() - began)


def of_other_workers() -> list[int]:
    """The cores that the other processes of this server keep to."""
    main_process = os.getppid()
    children = Path(f"/proc/{main_process}/task/{main_process}/children").read_text().split()
    found = []
    for process in set(map(int, children)) - {os.getpid()}:
        with suppress(ProcessLookupError):  # it has ended
            cores = os.sched_getaffinity(process)
            found += list(cores) if len(cores) == 1 else []
    return found


def uneven() -> float:
    """A factor that keeps workers from choosing the same core again at the same time."""
    return random.uniform(0.5, 1.5)  # noqa: S311  (no secret)


def in_background() -> list[threading.Thread]:
    """The threads that Python code has started. Those of granian are of another class."""
    return [each for each in threading.enumerate() if type(each) is threading.Thread]


def of_requests() -> float:
    """The seconds of CPU time that threads took which keep to the core."""
    return time.process_time() - sum(seconds_of(each.native_id) for each in in_background())


def seconds_of(thread: int | None) -> float:
    """The CPU time that a thread took, or 0 if it has ended."""
    try:
        fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:13])) / TICKS


def in_use() -> dict[int, float]:
    """For how many seconds each core has worked since the system started."""
    found = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *_ = fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = sum(int(fields[field]) for field in IN_USE)
            found[int(name.removeprefix("cpu"))] = ticks / TICKS
    return found
