"""A server's processes: start, CPU time, stop."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

START_SECONDS = 120
STOP_SECONDS = 10
LOG_TAIL = 3000

IDLE_SECONDS = 2.5
"""Of next to no CPU time. This project's search index waits for two seconds before it begins."""

IDLE_CPU_SECONDS = 0.05
"""What a server may take in that time."""

IDLE_SECONDS_MAX = 600

_libc = ctypes.CDLL(None, use_errno=True)


class Server:
    """A command that serves on `port`; a context manager that never leaves a process behind."""

    def __init__(
        self, command: list[str], *, folder: Path, environment: dict[str, str], log: Path
    ) -> None:
        self.log = log
        self._command = command
        self._folder = folder
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: frozenset[int] = frozenset()

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *error: object) -> None:
        process = self.process
        if process.poll() is None:
            process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that was started."""
        if self._process is None:
            raise RuntimeError("The server is not started.")
        return self._process

    def wait(self, answers: Callable[[], object]) -> None:
        """Wait until `answers` raises no OSError; raises it if the server has ended or is late."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                answers()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def log_tail(self) -> str:
        """The end of what the server printed."""
        return self.log.read_text(errors="replace")[-LOG_TAIL:]

    def fix_tree(self) -> None:
        """Take the processes there are now as the server's. Call it when all have started."""
        self._tree = frozenset(process_tree(self.process.pid))

    def cpu_seconds(self) -> float:
        """The CPU time, user and system, of all its processes and their threads so far.

        Raises RuntimeError if a process has come or gone, because the sum would not be right.
        """
        if frozenset(process_tree(self.process.pid)) != self._tree:
            raise RuntimeError(f"The server's processes have changed:\n{self.log_tail()}")
        return sum(map(process_cpu_seconds, self._tree))

    def wait_until_idle(self) -> None:
        """Wait for what it does in the background, such as indexing what was saved.

        Raises RuntimeError if it still works after IDLE_SECONDS_MAX.
        """
        end = time.monotonic() + IDLE_SECONDS_MAX
        quiet_since, cpu = time.monotonic(), self.cpu_seconds()
        while time.monotonic() - quiet_since < IDLE_SECONDS:
            if time.monotonic() > end:
                raise RuntimeError(f"The server is never idle:\n{self.log_tail()}")
            time.sleep(IDLE_SECONDS / 10)
            if (now := self.cpu_seconds()) > cpu + IDLE_CPU_SECONDS:
                quiet_since, cpu = time.monotonic(), now


def process_tree(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue  # it has just ended
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for process in found:
        found.extend(children.get(process, []))
    return found


def process_cpu_seconds(process: int) -> float:
    """What `utime` plus `stime` in /proc/<pid>/stat count, in nanoseconds and not in ticks.

    The process's CPU-time clock also keeps what its ended threads have used, which the
    sum over /proc/<pid>/task/*/schedstat loses.
    """
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(process, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error))
    return time.clock_gettime(clock.value)


def resident_bytes(process: int) -> int:
    """The memory that a process has resident."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A loopback port that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
