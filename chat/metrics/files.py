"""Metrics on disk, so that one scrape includes those of several processes.

The processes of a server count in files, in a folder for this server (prometheus_client's
multiprocess mode). A command has usually ended before the next scrape, so it leaves its
measurements in a file.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from prometheus_client import CollectorRegistry, Metric, write_to_textfile
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

logger = logging.getLogger(__name__)

BYTES_OF_PROCESS = 256 * 1024
"""More than a process writes. It maps its files into memory, so a full disk would be a SIGBUS."""


def new_server_folder() -> Path:
    """A new folder for the server that this process is about to become by `exec`.

    It stays locked until the server ends. Folders of servers that have ended are removed. Only
    one process may call this at a time. Raises OSError, also if the disk is full.
    """
    folders = settings.DATA_DIR / "metrics"
    folders.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in folders.iterdir():
        _remove_unless_locked(old)
    folder = Path(tempfile.mkdtemp(dir=folders))
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)
    space = folder / "space"
    try:
        space.write_bytes(bytes(BYTES_OF_PROCESS * settings.WORKERS))
    finally:
        space.unlink(missing_ok=True)
    return folder


def _remove_unless_locked(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # its server is running
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def leave_metrics(command: str, measured: CollectorRegistry) -> None:
    """Write the measurements of a command, replacing its earlier ones. Raises OSError."""
    folder = _command_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{command}.prom"
    write_to_textfile(str(path), measured)
    if os.geteuid() == 0:  # else a server that runs as another user could not read it
        owner = settings.DATA_DIR.stat()
        for made in (folder, path):
            os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


def left_by_commands() -> Iterator[Metric]:
    """The measurements that commands have left: each metric once, with the samples of all files.

    Prometheus accepts no duplicate samples, so only the first of them is included. Files that
    cannot be read are skipped and logged.
    """
    found: dict[str, Metric] = {}
    for path in sorted(_command_folder().glob("*.prom")):
        if not path.is_file():
            continue
        try:
            for metric in list(text_string_to_metric_families(path.read_text(encoding="utf-8"))):
                _add_samples(found.setdefault(metric.name, metric), metric)
        except (OSError, ValueError) as error:
            logger.warning("%r is not a file of metrics: %s", path.name, type(error).__name__)
    yield from found.values()


def _add_samples(known: Metric, metric: Metric) -> None:
    if known is metric or known.type != metric.type:
        return
    seen = {_identity(sample) for sample in known.samples}
    known.samples += [sample for sample in metric.samples if _identity(sample) not in seen]


def _identity(sample: Sample) -> tuple[Any, ...]:
    return sample.name, *sorted(sample.labels.items())


def _command_folder() -> Path:
    folder: Path = settings.DATA_DIR / "metrics-of-commands"
    return folder
