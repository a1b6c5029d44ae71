"""Whether servers that are left in peace stay as they are: memory, descriptors and the log."""

import os
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.system.soak import descriptors
from tests.system.soak.known import Known

SECONDS = 5.0
"""Between two samples."""

SAMPLES_OF_A_LINE = 12
"""One line is printed each minute."""

WARM_UP = 0.25
"""The part of the samples that is not judged: caches fill, and each command runs first."""

MOST = 1.05
"""How much more the second half of what is judged may have than the first."""

FULL_LOG = 4000 * (4096 + 24)
"""Bytes at which SQLite empties its log: `wal_autocheckpoint` in `config/databases.py`."""

POOLS = 30
"""Descriptors that the pools of one server may still open after its start: six calls to DynamoDB
with three each (libcurl's connection, and what wakes it), five connections to SQLite with two, and
a few to Redis. They fill when calls coincide, which may take hours."""

FEWEST = 8
"""Samples from which something can be told."""


@dataclass
class Measured:
    """What was measured, sample by sample."""

    memory: list[float] = field(default_factory=list)
    """Bytes in memory of all processes of the servers (RSS)."""
    kinds: list[Counter[str]] = field(default_factory=list)
    """Their open descriptors."""
    log: list[float] = field(default_factory=list)
    """Bytes of the write-ahead log."""

    @property
    def descriptors(self) -> list[int]:
        return [kinds.total() for kinds in self.kinds]


def halves(samples: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Both halves of what is judged, which is all that came after the warm-up.

    Raises ValueError if there are too few samples.
    """
    judged = samples[int(len(samples) * WARM_UP) :]
    if len(judged) < FEWEST:
        raise ValueError(f"{len(samples)} samples are too few; take more minutes.")
    middle = len(judged) // 2
    return judged[:middle], judged[middle:]


def growth(samples: Sequence[float], least: float = 0.0) -> float:
    """The median of the second half to that of the first, after the warm-up.

    Up to `least` it may grow.
    """
    first, second = (max(least, median(half)) for half in halves(samples))
    return second / first if first else 1.0


def peak_growth(samples: Sequence[float], least: float = 0.0) -> float:
    """The same of the highest values: of a file that keeps its size until it is emptied.

    It is not emptied before it has `least`, so until then it may grow.
    """
    first, second = (max(least, *half) for half in halves(samples))
    return second / (first or 1.0)


def of_each_kind(samples: Sequence[Counter[str]]) -> dict[str, tuple[float, float]]:
    """The medians of both halves, as `growth` compares them."""
    return {
        kind: (median(counts[kind] for counts in first), median(counts[kind] for counts in second))
        for first, second in [halves(samples)]
        for kind in sorted(set().union(*samples))
    }


class Watch(threading.Thread):
    """Measures the servers until it is stopped, and then judges."""

    def __init__(self, known: Known, processes: Sequence[int], database: Path) -> None:
        super().__init__(daemon=True)
        self._known, self._processes = known, processes
        self._log = Path(f"{database}-wal")
        self._stopped = threading.Event()
        self._measured = Measured()

    def run(self) -> None:
        while not self._stopped.wait(SECONDS):
            with suppress(FileNotFoundError, ProcessLookupError):  # one has just ended
                self._sample()

    def _sample(self) -> None:
        everyone = [pid for process in self._processes for pid in family(process)]
        memory = sum(map(_resident, everyone))
        kinds = sum(map(descriptors.kinds, everyone), Counter())
        log = self._log.stat().st_size if self._log.exists() else 0
        self._measured.memory.append(memory)
        self._measured.kinds.append(kinds)
        self._measured.log.append(log)
        if len(self._measured.log) % SAMPLES_OF_A_LINE == 0:
            self._tell()

    def _tell(self) -> None:
        """So that whoever waits for hours sees where it goes."""
        measured = self._measured
        minutes = len(measured.memory) * SECONDS / 60
        print(
            f"{minutes:6.1f} min  memory {measured.memory[-1] / 2**20:,.1f} MiB"
            f"  descriptors {measured.descriptors[-1]}  log {measured.log[-1] / 2**20:,.2f} MiB"
            f"  load {os.getloadavg()[0]:.1f}",
            flush=True,
        )

    def judge(self) -> None:
        """Stop, and note what has grown."""
        self._stopped.set()
        self.join()
        measured = self._measured
        full = measured.descriptors[0] + POOLS * len(self._processes)
        grown = {
            "memory": growth(measured.memory),
            "descriptors": growth(measured.descriptors, full),
            "log": peak_growth(measured.log, FULL_LOG),
        }
        for what, ratio in grown.items():
            samples = getattr(measured, what)
            print(f"{what}: x {ratio:.3f} after the warm-up; at most {max(samples):,.0f}")
            if ratio > MOST:
                self._known.fault("grows", f"{what}: x {ratio:.3f}, may be x {MOST}")
        for kind, (before, after) in of_each_kind(measured.kinds).items():
            print(f"  descriptors, {kind}: {before:g}, then {after:g}")


def family(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    for parent in found:
        path = Path(f"/proc/{parent}/task/{parent}/children")
        found += map(int, path.read_text().split()) if path.exists() else []
    return found


def _resident(process: int) -> int:
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * 4096
