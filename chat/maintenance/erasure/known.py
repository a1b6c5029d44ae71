"""Who was erased and when, for whoever brings interactions from elsewhere.

An export, a backup or another database may have interactions of users who were erased since. The
ledger knows these users by keyed hashes only, so it is asked about each user who comes along.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from chat.maintenance import holds
from chat.maintenance.erasure import ledger
from chat.maintenance.erasure.ledger import Erasure
from chat.maintenance.holds import Hold, Holds
from storage.archive import pseudonyms
from storage.archive.archive import Archive
from storage.archive.manifests import Manifest
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.pages import never


class UnknownKey(StorageError):
    """The ledger has pseudonyms made with a SECRET_KEY that is not known."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"The ledger of erasures was written with another SECRET_KEY, of fingerprint {key_id}. "
            "Put that one into SECRET_KEY_FALLBACKS; without it, those who were erased would be "
            "back. In development it is in the file secret_key of the DATA_DIR of that time."
        )


class Erasures:
    """When each user was last erased, by the ledgers of some archives.

    A pending erasure counts as well, but not for what is under a legal hold: that forbids it.

    The first look reads every entry, a later one lists them and reads those that are new.
    """

    def __init__(self, cutoff: datetime, *archives: Archive) -> None:
        self._cutoff = cutoff
        self._archives = archives
        self._keys = pseudonyms.pseudonyms_by_key("").keys()
        self._erased_at: dict[str, datetime] = {}
        self._removed_at: dict[str, datetime] = {}
        """The same without pending erasures."""
        self._holds = Holds(())
        self._holds_of: dict[Archive, dict[str, Hold]] = {}
        self._key_ids: set[str] = set()
        self._done: set[str] = set()
        self.look()

    def look(self) -> bool:
        """Read what came since the last look; returns whether something did.

        Raises UnknownKey, unless everything from before that erasure has expired by now.
        """
        is_news = False
        # In this order, because an erasure goes from pending to done; and the holds before the
        # erasures that they forbid, because other threads may ask meanwhile.
        pending = [(archive, list(ledger.pending(archive))) for archive in self._archives]
        self._holds = Holds(
            hold for archive, erasures in pending for hold in self._held(archive, bool(erasures))
        )
        for archive, erasures in pending:
            for erasure in [*erasures, *ledger.to_scrub(archive)]:
                is_news |= self._add(erasure)
            for erasure in ledger.done(archive, known=self._done):
                is_news |= self._add(erasure)
                self._done.add(erasure.erasure_id)
        return is_news

    @property
    def any(self) -> bool:
        """Whether anybody was erased."""
        return bool(self._erased_at)

    def erased(self, user_id: str) -> datetime | None:
        """When this user was last erased, or None."""
        is_held = user_id in self._holds.users
        return _latest(self._removed_at if is_held else self._erased_at, user_id)

    def cover(self, interaction: ChatInteraction) -> bool:
        """Whether an interaction was created before its user was erased."""
        is_held = self._holds.holds(interaction)
        until = _latest(self._removed_at if is_held else self._erased_at, interaction.user_id)
        return until is not None and interaction.created_at <= until

    def may_cover(self, manifest: Manifest) -> bool:
        """Whether a segment may have such rows. Only reading them makes sure."""
        if manifest.users is None or self._key_ids - {manifest.key_id}:
            return any(manifest.oldest <= until for until in self._erased_at.values())
        times = map(self._erased_at.get, manifest.users)
        return any(until is not None and manifest.oldest <= until for until in times)

    def _held(self, archive: Archive, is_asked: bool) -> Collection[Hold]:
        known = self._holds_of.get(archive, {})
        self._holds_of[archive] = holds.by_file(archive, known) if is_asked else {}
        return self._holds_of[archive].values()

    def _add(self, erasure: Erasure) -> bool:
        if erasure.key_id not in self._keys:
            if erasure.ended_at <= self._cutoff:
                return False
            raise UnknownKey(erasure.key_id)
        self._key_ids.add(erasure.key_id)
        if erasure.status != "pending":
            _note(self._removed_at, erasure)
        return _note(self._erased_at, erasure)


def remove_left(
    storage: Storage, erasures: Erasures, interactions: Iterable[ChatInteraction]
) -> None:
    """Delete what is hot under the ids of these and was created before its user was erased.

    For what a save may have left that failed in the middle while an erasure was under way. Not what
    is under a legal hold: it was brought back on purpose.
    """
    ids = [each.interaction_id for each in interactions if erasures.cover(each)]
    found = storage.database.look_at(ids, never).values() if ids else ()
    left = [each for each in found if isinstance(each, ChatInteraction) and erasures.cover(each)]
    held = Holds.of(storage.archive) if left else Holds(())
    for each in left:
        if not held.holds(each):
            storage.erase_hot([each], each.user_id)


def _latest(times: Mapping[str, datetime], user_id: str) -> datetime | None:
    if not times:
        return None
    found = map(times.get, pseudonyms.all_pseudonyms(user_id))
    return max((time for time in found if time is not None), default=None)


def _note(times: dict[str, datetime], erasure: Erasure) -> bool:
    """Returns whether this is the latest of its user."""
    before = times.get(erasure.pseudonym)
    if before is not None and before >= erasure.ended_at:
        return False
    times[erasure.pseudonym] = erasure.ended_at
    return True
