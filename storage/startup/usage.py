"""Counts usage in the processes of a server, so that it goes on if nobody asks for it.

Only where the changes are kept elsewhere for a limited time: in DynamoDB's stream, for a day. Each
process follows it, with no lock: two at once do no harm, and every few minutes that costs nothing.
"""

import logging
import random
import threading
import time
from datetime import UTC, datetime, timedelta

from django.db import connections

from storage.startup.selection import get_storage, is_production

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 300.0

LONGEST_SECONDS = 60.0
"""How long one go may take; the next one goes on."""

BEHIND = timedelta(seconds=2 * LONGEST_SECONDS)
"""What is not counted up to so long ago has a backlog, as after hours without a server. Then the
next go comes sooner: a change that waits for a day is lost.
"""


def keep_counting() -> None:
    """Start the thread that does so, if it is needed."""
    if is_production():
        threading.Thread(target=_work, name="usage", daemon=True).start()


def _work() -> None:
    time.sleep(random.uniform(0, PAUSE_SECONDS / 10))  # noqa: S311  (workers start together)
    while True:
        time.sleep(count_once())


def count_once() -> float:
    """Count what there is now. Returns the seconds until the next time. Never raises."""
    try:
        complete_until = get_storage().database.count_usage(LONGEST_SECONDS)
    except Exception:
        logger.exception("Usage could not be counted. It will be tried again.")
        return PAUSE_SECONDS
    finally:
        connections.close_all()  # back into the pool
    is_behind = complete_until is not None and complete_until < datetime.now(UTC) - BEHIND
    return LONGEST_SECONDS if is_behind else PAUSE_SECONDS
