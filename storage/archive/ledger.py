"""Erasures: what was asked for, how far it is, and the ledger of those that are done.

They lie in the archive, not in the database: one that is restored from an older backup must learn
from them whom to erase again. While an erasure is pending its document has the user's id; once it
is done, only the pseudonym.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from uuid_utils import uuid7

from storage.archive import pseudonyms
from storage.archive.archive import Archive
from storage.records import format_time

PENDING = "erasures/pending"
DONE = "erasures/done"


@dataclass(frozen=True)
class Erasure:
    """One request to erase a user."""

    erasure_id: str
    pseudonym: str
    key_id: str
    """The key of the pseudonym, in case SECRET_KEY changes."""
    requested_at: datetime
    user_id: str | None = field(repr=False)
    """None once it is done."""
    problem: str | None = None
    """Why the last attempt has not ended it."""
    receipt: dict[str, Any] | None = None
    """What was erased, and which backups have copies still; None while it is pending."""

    @property
    def ended_at(self) -> datetime:
        """When the last look found nothing; while it is pending, when it was asked for."""
        if self.receipt is None:
            return self.requested_at
        return datetime.fromisoformat(self.receipt["finished_at"])

    @property
    def status(self) -> str:
        """`pending` or `done`."""
        return "pending" if self.receipt is None else "done"


def request(archive: Archive, user_id: str) -> Erasure:
    """Record that a user is to be erased. One that is pending already is given again."""
    for erasure in pending(archive):
        if erasure.user_id == user_id:
            return erasure
    erasure = Erasure(
        erasure_id=str(uuid7()),
        pseudonym=pseudonyms.pseudonym(user_id),
        key_id=pseudonyms.key_id(),
        requested_at=datetime.now(UTC),
        user_id=user_id,
    )
    put(archive, erasure)
    return erasure


def put(archive: Archive, erasure: Erasure) -> None:
    """Write how far an erasure is."""
    archive.files.write_document(_pending_name(erasure.erasure_id), _document(erasure))


def finish(archive: Archive, erasure: Erasure, receipt: dict[str, Any]) -> Erasure:
    """Enter an erasure in the ledger, without the user's id."""
    done = replace(erasure, user_id=None, problem=None, receipt=receipt)
    archive.files.write_document(_done_name(erasure.erasure_id), _document(done))
    archive.files.delete(_pending_name(erasure.erasure_id))
    return done


def find(archive: Archive, erasure_id: str) -> Erasure | None:
    """An erasure by its id, or None if there never was such a one."""
    try:
        known = str(UUID(erasure_id))
    except ValueError:
        return None
    # In this order: it goes from pending to done, and would else be missed in between.
    for name in (_pending_name(known), _done_name(known), _pending_name(known)):
        document = archive.files.read_document(name)
        if document is not None:
            return _erasure(document)
    return None


def pending(archive: Archive) -> Iterator[Erasure]:
    """Erasures that are to be done, the oldest first."""
    return _all(archive, PENDING)


def done(archive: Archive) -> Iterator[Erasure]:
    """The ledger, the oldest first."""
    return _all(archive, DONE)


def _all(archive: Archive, folder: str) -> Iterator[Erasure]:
    for name in archive.files.list(folder):  # UUIDv7: sorted by time
        document = archive.files.read_document(f"{folder}/{name}")
        if document is not None:
            yield _erasure(document)


def _document(erasure: Erasure) -> dict[str, Any]:
    return {
        "erasure_id": erasure.erasure_id,
        "pseudonym": erasure.pseudonym,
        "key_id": erasure.key_id,
        "requested_at": format_time(erasure.requested_at),
        "user_id": erasure.user_id,
        "problem": erasure.problem,
        "receipt": erasure.receipt,
    }


def _erasure(document: dict[str, Any]) -> Erasure:
    requested_at = datetime.fromisoformat(document["requested_at"])
    return Erasure(**(document | {"requested_at": requested_at}))


def _pending_name(erasure_id: str) -> str:
    return f"{PENDING}/{erasure_id}.json"


def _done_name(erasure_id: str) -> str:
    return f"{DONE}/{erasure_id}.json"
