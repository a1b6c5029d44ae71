"""Where metrics are on disk, so that one scrape sees what several processes have counted.

The processes of a server count in files of a folder of its own (prometheus_client's multiprocess
mode). A command has ended when the scraper comes, so it leaves its last measurements in a file.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from prometheus_client import CollectorRegistry, Metric, write_to_textfile
from prometheus_client.parser import text_string_to_metric_families

logger = logging.getLogger(__name__)

BYTES_OF_PROCESS = 256 * 1024
"""More than one process writes. It maps its files into memory, where a full disk is a SIGBUS."""


def new_server_folder() -> Path:
    """An empty folder for a server that this process is about to become by `exec`.

    It is locked until the server ends; the folders of servers that have ended are removed. Only
    one process may be at this at a time. Raises OSError, also if the disk is full.
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
        return  # its server runs
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def leave(command: str, measured: CollectorRegistry) -> None:
    """Leave what a command has measured, in the place of what it had left. Raises OSError."""
    folder = _command_folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(folder / f"{command}.prom"), measured)


def left_by_commands() -> Iterator[Metric]:
    """What commands have left: each metric once, with the samples of all that have it.

    Of samples that say the same thing only the first is given, since Prometheus takes no second
    one. What cannot be read is left out, and logged.
    """
    found: dict[str, Metric] = {}
    for path in sorted(_command_folder().glob("*.prom")):
        if not path.is_file():
            continue
        try:
            for metric in list(text_string_to_metric_families(path.read_text(encoding="utf-8"))):
                _add_samples(found.setdefault(metric.name, metric), metric)
        except (OSError, ValueError) as error:
            logger.warning("%r is no file of metrics: %s", path.name, type(error).__name__)
    yield from found.values()


def _add_samples(known: Metric, metric: Metric) -> None:
    if known is metric or known.type != metric.type:
        return
    samples = {(each.name, *sorted(each.labels.items())) for each in known.samples}
    known.samples += [
        each for each in metric.samples if (each.name, *sorted(each.labels.items())) not in samples
    ]


def _command_folder() -> Path:
    folder: Path = settings.DATA_DIR / "metrics-of-commands"
    return folder
