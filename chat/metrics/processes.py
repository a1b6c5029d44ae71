"""The metrics that the processes of this server have counted."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from storage.telemetry.counters import settle_all


class _Processes(MultiProcessCollector):
    """The sum of the processes of this server that are running."""

    @property
    def folder(self) -> Path:
        """Where they count."""
        return Path(self._path)

    def collect(self) -> Iterator[Metric]:
        # Workers that were killed, or restarted by SIGHUP, leave such files.
        for file in Path(self._path).glob("gauge_live*.db"):
            process_id = int(file.stem.rpartition("_")[2])
            if not _runs(process_id):
                with suppress(FileNotFoundError):  # another scrape removed it
                    mark_process_dead(process_id)
        return self.merge([str(file) for file in self.folder.glob("*.db") if _is_made(file)])


def of_this_server() -> Collector:
    """The metrics of all processes of this server, as sums. Those of others are a second old."""
    settle_all()
    registry = CollectorRegistry()
    try:
        _Processes(registry)
    except ValueError:  # not a server with several processes: this one counts in memory
        return REGISTRY
    return registry


def folder_of_this_server() -> Path | None:
    """The folder of this server (see `chat.metrics.files`); None for a process on its own."""
    try:
        return _Processes(None).folder
    except ValueError:
        return None


def _is_made(file: Path) -> bool:
    """Whether a file of counts has its size. It is made empty, and stays so if the process dies.

    prometheus_client 0.26 fails with struct.error for each scrape then (client_python#1199).
    """
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # another scrape removed it
        return False


def _runs(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
