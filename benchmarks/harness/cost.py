"""What one process costs: CPU, bytes read and written, memory, disk and time."""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAUSE = 0.02
"""Seconds between two looks at a process, and at its disk unless that takes long."""

SHARE_OF_LOOKS = 1 / 20
"""The part of the time in which files may be looked at."""


@dataclass(frozen=True)
class Cost:
    """One process and its children; bytes are of all reads and writes, from memory or disk."""

    seconds: float = 0.0
    cpu: float = 0.0
    read: int = 0
    written: int = 0
    memory: int = 0
    """The most resident bytes."""
    disk: int = 0
    """The most bytes in the folder beyond those that were there before."""
    status: int | None = 0
    """The exit status; None if it was killed at its time limit."""
    said: dict[str, Any] = field(default_factory=dict)
    """The summary on its last line."""
    error: str = ""
    """The last line of standard error."""

    def beyond(self, start: "Cost") -> "Cost":
        """What it costs more than a process that only starts."""
        values = dict(self.__dict__)
        for name in ("cpu", "read", "written"):
            values[name] = max(values[name] - getattr(start, name), type(values[name])(0))
        return Cost(**values)


def run(
    words: list[str], *, folder: Path, environment: dict[str, str], limit: float | None = None
) -> Cost:
    """Run a process to its end, and watch how much `folder` grows. Kill it after `limit` seconds.

    The counts of bytes are exact: they are read when the process has ended and still has a number.
    """
    before = size_of(folder)
    disk = Disk(folder, before)
    output = folder / "output"
    errors = folder / "errors"
    started = time.monotonic()
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    killed = False
    flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, process.pid, flags) is None:
        if limit is not None and time.monotonic() - started > limit:
            process.kill()
            killed = True
        disk.look()
        time.sleep(PAUSE)
    seconds = time.monotonic() - started
    read, written = io_of(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        seconds=seconds,
        cpu=usage.ru_utime + usage.ru_stime,
        read=read,
        written=written,
        memory=usage.ru_maxrss * 1024,
        disk=disk.most,
        status=None if killed else process.returncode,
        said=_summary(output),
        error=_last_line(errors),
    )


def io_of(process: int) -> tuple[int, int]:
    """Bytes that a process and its ended children have read and written so far."""
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    counts = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    return counts["rchar"], counts["wchar"]


class Disk:
    """Watches how large a folder becomes."""

    def __init__(self, folder: Path, before: int) -> None:
        self.most = 0
        self._folder = folder
        self._before = before
        self._next = 0.0

    def look(self) -> None:
        """Look, unless the last look was expensive and has not been long ago."""
        started = time.monotonic()
        if started < self._next:
            return
        self.most = max(self.most, size_of(self._folder) - self._before)
        took = time.monotonic() - started
        self._next = started + took / SHARE_OF_LOOKS


def size_of(folder: Path) -> int:
    """The bytes of all files under a folder; those that vanish meanwhile do not count."""
    total = 0
    try:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                total += size_of(Path(entry.path))
            else:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        pass
    return total


def _summary(output: Path) -> dict[str, Any]:
    lines = output.read_text(errors="replace").splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(errors: Path) -> str:
    lines = errors.read_text(errors="replace").splitlines()
    return lines[-1] if lines else ""
