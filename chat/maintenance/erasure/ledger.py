"""Erasures: what was requested, how far it is, and the ledger of those that are done.

They are kept in the archive, not in the database, because a database that is restored from an older
backup must learn whom to erase again. An erasure is a document in one of three folders:

    pending  there may be something of the user that can be read; has the user's id
    removed  there is not; bytes of deleted rows may be left in the files of the database
    done     no byte is left

It is written to the next folder, and then deleted from the one before. A process that is killed in
between leaves both; the later one counts, and `take_up` tidies up. A fourth folder says which
pending erasure a user has, by pseudonym, so that a request need not read them all.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from uuid_utils import uuid7

from storage.archive import pseudonyms
from storage.archive.archive import ABANDONED_SECONDS, Archive
from storage.exceptions import DamagedArchive
from storage.records.json import format_time

PENDING = "erasures/pending"
REMOVED = "erasures/removed"
DONE = "erasures/done"
USERS = "erasures/users"

Status = Literal["pending", "removed", "done"]


@dataclass(frozen=True)
class Erasure:
    """One request to erase a user."""

    erasure_id: str
    pseudonym: str
    key_id: str
    """The key of the pseudonym, as SECRET_KEY may change."""
    requested_at: datetime
    user_id: str | None = field(repr=False)
    """None once nobody can read anything of the user."""
    problem: str | None = None
    """Why the last attempt failed."""
    receipt: dict[str, Any] | None = None
    """What was erased, since when, and which backups still have copies. None while it is pending.

    Receipts of version 0.2 and earlier, which were written last, have `finished_at` in place of
    `removed_at` and `scrubbed_at`.
    """
    attempts: int = 0
    """How often it was begun, killed attempts included."""
    erased: dict[str, int] = field(default_factory=dict)
    """Rows that were erased so far, by layer. What a killed attempt erased may be missing."""
    requested_by: str | None = None
    """Who asked, such as `key:` and the prefix of an API key. None in version 0.2 and earlier."""

    @property
    def ended_at(self) -> datetime:
        """When the last sweep, which found nothing, began. While pending: when it was requested."""
        if self.receipt is None:
            return self.requested_at
        ended_at: str = self.receipt.get("removed_at") or self.receipt["finished_at"]
        return datetime.fromisoformat(ended_at)

    @property
    def status(self) -> Status:
        """How far it is: the name of its folder."""
        if self.receipt is None:
            return "pending"
        return "removed" if self.receipt.get("scrubbed_at", "") is None else "done"

    def as_record(self) -> dict[str, Any]:
        """What may be shown of it: nothing that identifies the user."""
        return {
            "erasure_id": self.erasure_id,
            "status": self.status,
            "requested_at": format_time(self.requested_at),
            "requested_by": self.requested_by,
            "problem": self.problem,
            "receipt": self.receipt and _shown(self.receipt),
        }


def request(archive: Archive, user_id: str, requested_by: str | None = None) -> Erasure:
    """Record that a user is to be erased. Returns the pending erasure if there is one already."""
    with suppress(DamagedArchive):  # this request is recorded anyway
        if known := pending_of(archive, user_id):
            return known
    erasure = Erasure(
        erasure_id=str(uuid7()),
        pseudonym=pseudonyms.pseudonym(user_id),
        key_id=pseudonyms.key_id(),
        requested_at=datetime.now(UTC),
        user_id=user_id,
        requested_by=requested_by,
    )
    put(archive, erasure)
    archive.files.write_document(_name(USERS, erasure.pseudonym), {"pending": erasure.erasure_id})
    return erasure


def put(archive: Archive, erasure: Erasure) -> None:
    """Write the document of a pending erasure."""
    archive.files.write_document(_name(PENDING, erasure.erasure_id), _document(erasure))


def enter_removed(archive: Archive, erasures: Collection[Erasure]) -> None:
    """Record that nobody can read anything of the users of erasures, which have receipts."""
    for erasure in erasures:
        archive.files.write_document(_name(REMOVED, erasure.erasure_id), _document(erasure))
    _no_longer_pending(archive, erasures)


def finish(archive: Archive, erasure: Erasure, receipt: dict[str, Any]) -> Erasure:
    """Enter an erasure in the ledger, without the user's id. Returns what was entered."""
    done = replace(erasure, user_id=None, problem=None, receipt=receipt)
    archive.files.write_document(_name(DONE, erasure.erasure_id), _document(done))
    if erasure.status == "pending":
        _no_longer_pending(archive, [erasure])
    else:
        archive.files.delete(_name(REMOVED, erasure.erasure_id))
    return done


def find(archive: Archive, erasure_id: str) -> Erasure | None:
    """The erasure with this id, or None."""
    try:
        known = str(UUID(erasure_id))
    except ValueError:
        return None
    found = None
    for folder in (PENDING, REMOVED, DONE):  # in this order, because it may go on meanwhile
        found = _read(archive, folder, known) or found
    return found


def pending_ids(archive: Archive) -> list[str]:
    """The ids of pending erasures, oldest first. Some of them may be further."""
    return _ids(archive, PENDING)


def take_up(archive: Archive, erasure_id: str) -> Erasure | None:
    """The pending erasure with this id. If it is further, tidies up and returns None."""
    erasure = _read(archive, PENDING, erasure_id)
    if erasure is not None and any(_read(archive, each, erasure_id) for each in (REMOVED, DONE)):
        _no_longer_pending(archive, [erasure])
        return None
    return erasure


def pending(archive: Archive) -> Iterator[Erasure]:
    """The pending erasures, oldest first."""
    return _with_status(archive, PENDING, "pending")


def to_scrub(archive: Archive) -> Iterator[Erasure]:
    """Those of which bytes may be left in the files of the database, oldest first."""
    for erasure in _with_status(archive, REMOVED, "removed"):
        if _read(archive, DONE, erasure.erasure_id) is None:
            yield erasure
        else:  # a process was killed before it could delete this
            archive.files.delete(_name(REMOVED, erasure.erasure_id))


def count_to_scrub(archive: Archive) -> int:
    """How many `to_scrub` would return, about."""
    return len(_ids(archive, REMOVED))


def done(archive: Archive, known: Collection[str] = ()) -> Iterator[Erasure]:
    """The ledger, oldest first, without the erasures whose ids are `known`."""
    unknown = (erasure_id for erasure_id in _ids(archive, DONE) if erasure_id not in known)
    return filter(None, (_read(archive, DONE, erasure_id) for erasure_id in unknown))


def last_found(archive: Archive, user_id: str) -> datetime | None:
    """When an erasure of this user that found something ended, the latest one; or None."""
    known = pseudonyms.all_pseudonyms(user_id)
    times = (each.ended_at for each in done(archive) if each.erased and each.pseudonym in known)
    return max(times, default=None)


def tidy(archive: Archive) -> None:
    """Delete what interrupted writes of requests have left, as it has a user's id."""
    archive.files.remove_leftovers(f"{PENDING}/", ABANDONED_SECONDS)


def _ids(archive: Archive, folder: str) -> list[str]:
    files = archive.files.list(folder)
    return [file.removesuffix(".json") for file in files if file.endswith(".json")]


def _read(archive: Archive, folder: str, erasure_id: str) -> Erasure | None:
    document = archive.files.read_document(_name(folder, erasure_id))
    return None if document is None else msgspec.convert(document, Erasure)


def _with_status(archive: Archive, folder: str, status: Status) -> Iterator[Erasure]:
    for erasure_id in _ids(archive, folder):
        erasure = find(archive, erasure_id)
        if erasure is not None and erasure.status == status:
            yield erasure


def pending_of(archive: Archive, user_id: str) -> Erasure | None:
    """The pending erasure of a user, or None. Raises DamagedArchive."""
    for pseudonym in pseudonyms.all_pseudonyms(user_id):
        known = archive.files.read_document(_name(USERS, pseudonym))
        erasure = known and take_up(archive, str(known["pending"]))
        if erasure:
            return erasure
    return None


def _no_longer_pending(archive: Archive, erasures: Collection[Erasure]) -> None:
    for erasure in erasures:
        if _leads_to(archive, erasure):
            archive.files.delete(_name(USERS, erasure.pseudonym))
        archive.files.delete(_name(PENDING, erasure.erasure_id))  # last: it leads to the other
    # One call for all of them, since each one lists the folder.
    archive.files.remove_leftovers(tuple(f"{PENDING}/{each.erasure_id}" for each in erasures))


def _leads_to(archive: Archive, erasure: Erasure) -> bool:
    """Whether what says which pending erasure the user has says this one, or is damaged."""
    try:
        known = archive.files.read_document(_name(USERS, erasure.pseudonym))
    except DamagedArchive:
        return True
    return known is not None and known["pending"] == erasure.erasure_id


def _shown(receipt: dict[str, Any]) -> dict[str, Any]:
    """A receipt, as of now: earlier versions gave one time, that of the last sweep."""
    if "finished_at" not in receipt:
        return receipt
    others = {name: value for name, value in receipt.items() if name != "finished_at"}
    return others | {"removed_at": receipt["finished_at"], "scrubbed_at": None}


def _document(erasure: Erasure) -> dict[str, Any]:
    return asdict(erasure) | {"requested_at": format_time(erasure.requested_at)}


def _name(folder: str, erasure_id: str) -> str:
    return f"{folder}/{erasure_id}.json"
