"""Making a restored copy know what has happened since: before anyone reads it.

# Note [What an older copy does not know]

Who was erased since is in the copy still, and the ledger in the archive knows them by keyed hashes
only: so each user of the copy is looked for in it. And the archive has gone on: a row that was hot
is in a segment now, or a stub names a segment that was rewritten, restored or purged since. The
segments tell where each archived row is; the copy's stubs are made to agree. A row that is hot in
the copy stays so, and its segment is marked, to be compacted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from chat.maintenance.erasure import accounts, ledger
from chat.maintenance.identity import confirm_archive
from chat.maintenance.policy import Policy
from storage.archive import pseudonyms
from storage.archive.archive import Archive, configured_archive
from storage.archive.lists import position
from storage.backups.base import RestoredDatabase
from storage.batched import batched
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.models import ChatInteraction

ROWS_AT_ONCE = 100

END = datetime.max.replace(tzinfo=UTC)
"""Nothing is created later."""


class UnknownKey(StorageError):
    """The ledger has pseudonyms by a SECRET_KEY that nobody has any more."""


@dataclass(frozen=True)
class _Ledger:
    """When whom was last erased, by pseudonym."""

    erased_at: dict[str, datetime]

    @classmethod
    def of(cls, archive: Archive) -> "_Ledger":
        known = pseudonyms.pseudonyms_by_key("").keys()
        erased_at: dict[str, datetime] = {}
        for erasure in (*ledger.done(archive), *ledger.pending(archive)):
            if erasure.key_id not in known:
                raise UnknownKey(
                    "The ledger of erasures was written with another SECRET_KEY. Put that one "
                    "into SECRET_KEY_FALLBACKS; without it, those who were erased would be back."
                )
            before = erased_at.get(erasure.pseudonym, erasure.ended_at)
            erased_at[erasure.pseudonym] = max(before, erasure.ended_at)
        return cls(erased_at)

    def erased(self, user_id: str) -> datetime | None:
        """When this user was last erased; None if never."""
        times = [self.erased_at.get(each) for each in pseudonyms.all_pseudonyms(user_id)]
        return max((time for time in times if time is not None), default=None)


def bring_up_to_date(restored: RestoredDatabase, policy: Policy) -> int:
    """Erase again who was erased since, and agree with the archive; how many rows were erased.

    Raises StorageError, and then the copy must not be used.
    """
    storage = restored.storage
    archive = configured_archive() if storage is None else storage.archive
    if storage is not None:
        confirm_archive(storage, adopt=True)
    erasures = _Ledger.of(archive)
    erased = 0
    if storage is not None:
        erased += _erase_interactions(storage, erasures)
        _agree_with_archive(storage, policy)
        storage.database.scrub()
    if restored.alias is not None:
        for user_id in accounts.users(restored.alias):
            if erasures.erased(user_id) is not None:
                erased += sum(accounts.forget_user(user_id, restored.alias).values())
    return erased


def _erase_interactions(storage: Storage, erasures: _Ledger) -> int:
    erased_at: dict[str, datetime | None] = {}
    erased = 0
    for page in _hot(storage):
        for user_id in {each.user_id for each in page} - erased_at.keys():
            erased_at[user_id] = erasures.erased(user_id)
            if erased_at[user_id] is not None:
                storage.forget_user(user_id)
        for user_id in {each.user_id for each in page}:
            until = erased_at[user_id]
            gone = [
                each
                for each in page
                if each.user_id == user_id and until is not None and each.created_at <= until
            ]
            if gone:
                erased += storage.erase_hot(gone, user_id)
    return erased


def _hot(storage: Storage) -> Iterator[list[ChatInteraction]]:
    after = None
    while page := storage.oldest(END, ROWS_AT_ONCE, after):
        after = position(page[-1])
        yield page


def _agree_with_archive(storage: Storage, policy: Policy) -> None:
    """Let the stubs name the segments that have the rows.

    Of a segment that is marked only the stubs know which rows are its own.
    """
    archive = storage.archive
    segments = {segment for day in archive.days() for segment in archive.segments(day)}
    interrupted = set(archive.marked())
    storage.database.drop_other_stubs(interrupted)
    for segment in sorted(segments - interrupted):
        for some in batched(archive.rows(segment), ROWS_AT_ONCE):
            unexpired = [each for each in some if each.created_at > policy.gone_until]
            if not _adopt(storage, unexpired, segment, segments):
                archive.mark(segment)


def _adopt(storage: Storage, rows: list[ChatInteraction], segment: str, segments: set[str]) -> bool:
    """Make stubs for rows of a segment that have none; whether all rows are the segment's then."""
    stubs = storage.database.stubs([each.interaction_id for each in rows])
    own = True
    for each in rows:
        stub = stubs.get(each.interaction_id)
        if stub is None or stub.segment not in segments:
            own &= storage.database.adopt(each, segment, stub and stub.segment)
        else:
            own &= stub.segment == segment
    return own
