"""Four processes with 16 threads each call with one key, as often as they can.

Arguments: `local`, `own` (as `local`, but each process with a table of its own: the control) or the
URL of a Redis; a folder for the tables; the quota; how often each thread calls. Prints how many
calls were allowed, as JSON.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from storage.cache.guarded import Guards
from storage.rate_limits import windows

windows.WINDOW_MS = 10**9  # no window ends meanwhile; before the modules that take it from there

from storage.rate_limits.leases import LeasedWindows  # noqa: E402
from storage.rate_limits.local import LocalCounts  # noqa: E402
from storage.rate_limits.redis_counts import RedisCounts  # noqa: E402
from storage.rate_limits.table import Table  # noqa: E402
from tests import clouds  # noqa: E402

PROCESSES, THREADS = 4, 16
WHO = b"0123456789abcdef"


def made(kind: str, folder: Path) -> Any:
    """The windows of one process."""
    local = LocalCounts(Table(folder / ("together" if kind == "local" else str(os.getpid()))))
    if kind in ("local", "own"):
        return LeasedWindows(local, local)
    cache = clouds.make_cache(kind, max_connections=THREADS, **clouds.PATIENT)
    return LeasedWindows(RedisCounts(cache, Guards(cache)), local)


def allowed(limiter: Any, quota: int, calls: int) -> int:
    """How many calls of all threads of this process were allowed."""
    counts: list[int] = []

    def call() -> None:
        counts.append(sum(limiter.take(WHO, quota).allowed for _ in range(calls)))

    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def main() -> None:
    kind, folder, quota, calls = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    sys.setswitchinterval(1e-5)
    start, go = os.pipe()
    results = []
    for _ in range(PROCESSES):
        result, write = os.pipe()
        if os.fork() == 0:
            os.close(go)
            limiter = made(kind, folder)
            os.read(start, 1)  # ends when the parent closes its side: all begin at once
            os.write(write, str(allowed(limiter, quota, calls)).encode())
            os._exit(0)
        os.close(write)
        results.append(result)
    os.close(go)
    print(json.dumps([int(os.read(result, 100)) for result in results]))


if __name__ == "__main__":
    main()
