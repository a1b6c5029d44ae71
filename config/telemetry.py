"""Writes what a server process counts and logs of its requests, beside them."""

import logging
import threading
import time
from collections.abc import Callable
from multiprocessing.util import Finalize

from chat.metrics import resources
from chat.metrics.histograms import write_histograms
from config import requests, tracing
from config.admission import Admission
from storage.telemetry.counters import settle_all

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.25
"""How late a line of a request is logged."""

PAUSES = 4
"""After so many, the metrics are written for the other processes of this server."""


def start(admission: Admission) -> None:
    """Start the thread. Call it in the process that serves: a fork has no threads."""
    tracing.start()
    # Not `atexit`, which workers of the server, as children of multiprocessing, never call.
    Finalize(None, _end, exitpriority=1)
    threading.Thread(target=_work, args=(admission,), name="telemetry", daemon=True).start()


def _work(admission: Admission) -> None:
    while True:
        for _ in range(PAUSES):
            time.sleep(PAUSE_SECONDS)
            _safely(requests.write)
        _safely(lambda: resources.sample(admission.in_use()))
        _tell_others()


def _end() -> None:
    _safely(requests.write)
    _tell_others()
    tracing.stop()


def _tell_others() -> None:
    _safely(settle_all)
    _safely(write_histograms)


def _safely(step: Callable[[], None]) -> None:
    """A disk that is full ends no thread: the next time may be better."""
    try:
        step()
    except OSError as error:
        logger.debug("What was counted could not be written: %s", error)
    except Exception:
        logger.exception("What was counted could not be written.")
