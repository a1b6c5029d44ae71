"""Calls that are sent again after their user was erased."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

from chat.maintenance.erasure.known import Erasures
from storage import expiry
from storage.archive.archive import Archive
from storage.models import ChatInteraction

LATE = timedelta(minutes=1)
"""After the end of a call. Tools send within seconds, and those that try again give up within ten.
So the record of erasures is not asked about what happens now.
"""

_known: WeakKeyDictionary[Archive, Erasures] = WeakKeyDictionary()
_lock = threading.Lock()


def erasures_before(interactions: Iterable[ChatInteraction], archive: Archive) -> Erasures | None:
    """The erasures on record, or None if all interactions are too new to be of an erased user.

    Raises StorageError if the record cannot be read.
    """
    late = datetime.now(UTC) - LATE
    if not any(interaction.updated_at < late for interaction in interactions):
        return None
    with _lock:
        found = _known.get(archive)
        if found is None:
            found = _known[archive] = Erasures(expiry.cutoff(), archive)
        else:
            found.look()
    return found
