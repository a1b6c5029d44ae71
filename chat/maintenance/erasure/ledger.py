"""Erasures: what was requested, how far it is, and the ledger of those that are done.

They are kept in the archive, not in the database, because a database that is restored from an older
backup must learn whom to erase again. The document of a pending erasure has the user's id; that of
one that is done has only the pseudonym.

An erasure that is done is written to the ledger, and then deleted from the pending ones. A process
that is killed in between leaves both; the erasure is done then, and `take_up` tidies up.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils import uuid7

from storage.archive import pseudonyms
from storage.archive.archive import ABANDONED_SECONDS, Archive
from storage.exceptions import DamagedArchive
from storage.records.json import format_time

PENDING = "erasures/pending"
DONE = "erasures/done"


@dataclass(frozen=True)
class Erasure:
    """One request to erase a user."""

    erasure_id: str
    pseudonym: str
    key_id: str
    """The key of the pseudonym, as SECRET_KEY may change."""
    requested_at: datetime
    user_id: str | None = field(repr=False)
    """None once it is done."""
    problem: str | None = None
    """Why the last attempt failed."""
    receipt: dict[str, Any] | None = None
    """What was erased, and which backups still have copies. None while it is pending."""
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
        return datetime.fromisoformat(self.receipt["finished_at"])

    @property
    def status(self) -> str:
        """`pending` or `done`."""
        return "pending" if self.receipt is None else "done"

    def as_record(self) -> dict[str, Any]:
        """What may be shown of it: nothing that identifies the user."""
        return {
            "erasure_id": self.erasure_id,
            "status": self.status,
            "requested_at": format_time(self.requested_at),
            "requested_by": self.requested_by,
            "problem": self.problem,
            "receipt": self.receipt,
        }


def request(archive: Archive, user_id: str, requested_by: str | None = None) -> Erasure:
    """Record that a user is to be erased. Returns the pending erasure if there is one already."""
    for erasure_id in pending_ids(archive):
        with suppress(DamagedArchive):  # of an unknown user; this request is recorded anyway
            known = take_up(archive, erasure_id)
            if known is not None and known.user_id == user_id:
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
    return erasure


def put(archive: Archive, erasure: Erasure) -> None:
    """Write the document of a pending erasure."""
    archive.files.write_document(_name(PENDING, erasure.erasure_id), _document(erasure))


def finish(archive: Archive, erasure: Erasure, receipt: dict[str, Any]) -> Erasure:
    """Enter an erasure in the ledger, without the user's id. Returns what was entered."""
    done = replace(erasure, user_id=None, problem=None, receipt=receipt)
    archive.files.write_document(_name(DONE, erasure.erasure_id), _document(done))
    _no_longer_pending(archive, erasure.erasure_id)
    return done


def find(archive: Archive, erasure_id: str) -> Erasure | None:
    """The erasure with this id, or None."""
    try:
        known = str(UUID(erasure_id))
    except ValueError:
        return None
    # In this order, because an erasure that becomes done meanwhile would be in neither.
    is_pending = _read(archive, PENDING, known)
    return _read(archive, DONE, known) or is_pending


def pending_ids(archive: Archive) -> list[str]:
    """The ids of pending erasures, oldest first. Some of them may be done."""
    return _ids(archive, PENDING)


def take_up(archive: Archive, erasure_id: str) -> Erasure | None:
    """The pending erasure with this id. If it is done, tidies up and returns None."""
    erasure = _read(archive, PENDING, erasure_id)
    if erasure is not None and _read(archive, DONE, erasure_id) is not None:
        _no_longer_pending(archive, erasure_id)
        return None
    return erasure


def pending(archive: Archive) -> Iterator[Erasure]:
    """The pending erasures, oldest first."""
    for erasure_id in pending_ids(archive):
        erasure = find(archive, erasure_id)
        if erasure is not None and erasure.receipt is None:
            yield erasure


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


def _no_longer_pending(archive: Archive, erasure_id: str) -> None:
    archive.files.delete(_name(PENDING, erasure_id))
    archive.files.remove_leftovers(f"{PENDING}/{erasure_id}")


def _document(erasure: Erasure) -> dict[str, Any]:
    return asdict(erasure) | {"requested_at": format_time(erasure.requested_at)}


def _name(folder: str, erasure_id: str) -> str:
    return f"{folder}/{erasure_id}.json"
