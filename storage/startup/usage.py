"""Counts usage in the processes of a server, so that it goes on if nobody asks for it.

Only where the changes are kept elsewhere for a limited time: in DynamoDB's stream, for a day. Each
process follows it, with no lock: two at once do no harm, and every few minutes that costs nothing.
"""

import logging
import random
import threading
import time

from django.db import connections

from storage.startup.selection import get_storage, is_production

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 300.0

LONGEST_SECONDS = 60.0
"""How long one go may take; the next one goes on."""


def keep_counting() -> None:
    """Start the thread that does so, if it is needed."""
    if is_production():
        threading.Thread(target=_work, name="usage", daemon=True).start()


def _work() -> None:
    time.sleep(random.uniform(0, PAUSE_SECONDS / 10))  # noqa: S311  (workers start together)
    while True:
        count_once()
        time.sleep(PAUSE_SECONDS)


def count_once() -> None:
    """Count what there is now. Never raises."""
    try:
        get_storage().database.count_usage(LONGEST_SECONDS)
    except Exception:
        logger.exception("Usage could not be counted. It will be tried again.")
    finally:
        connections.close_all()  # back into the pool
