"""Calls that are sent again after their user was erased."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

from chat.maintenance.erasure.known import Erasures, remove_left
from chat.maintenance.identity import require_archive
from storage import expiry
from storage.archive.archive import Archive
from storage.interface import Storage
from storage.models import ChatInteraction

LATE = timedelta(minutes=1)
"""After the end of a call. Tools send within seconds, and those that try again give up within ten.
So the record of erasures is not asked about what happens now.
"""

_known: WeakKeyDictionary[Archive, Erasures] = WeakKeyDictionary()
_lock = threading.Lock()


def erasures_before(interactions: Iterable[ChatInteraction], storage: Storage) -> Erasures | None:
    """The erasures on record, or None if all interactions are too new to be of an erased user.

    Raises ArchiveMismatch without the archive, whose record would look empty, and StorageError if
    the record cannot be read.
    """
    late = datetime.now(UTC) - LATE
    if not any(interaction.updated_at < late for interaction in interactions):
        return None
    require_archive(storage)
    with _lock:
        found = _known.get(storage.archive)
        if found is None:
            found = _known[storage.archive] = Erasures(expiry.cutoff(), storage.archive)
        else:
            found.look()
    return found


def remove_erased(
    interactions: Iterable[ChatInteraction], erasures: Erasures, storage: Storage
) -> set[str]:
    """Delete what was just saved of users whose erasure began, and maybe ended, meanwhile.

    An erasure that is not requested by now will find these rows itself. Returns their ids.
    """
    with _lock:
        erasures.look()
    erased = [interaction for interaction in interactions if erasures.cover(interaction)]
    for interaction in erased:
        storage.erase_hot([interaction], interaction.user_id)
    return {interaction.interaction_id for interaction in erased}


def remove_saved(
    interactions: Iterable[ChatInteraction], erasures: Erasures, storage: Storage
) -> None:
    """As `remove_erased`, of interactions of which only a part may have been saved."""
    with _lock:
        erasures.look()
    remove_left(storage, erasures, interactions)
