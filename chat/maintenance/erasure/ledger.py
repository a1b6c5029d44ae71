"""Erasures: what was asked for, how far it is, and the ledger of those that are done.

They lie in the archive, not in the database: one that is restored from an older backup must learn
from them whom to erase again. While an erasure is pending its document has the user's id; once it
is done, only the pseudonym.

An erasure goes from one folder to the other: it is written to the ledger, and then no longer
pending. Whoever is killed in between leaves it in both; it is done, then, and `take_up` tidies up.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

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
    """The key of the pseudonym, in case SECRET_KEY changes."""
    requested_at: datetime
    user_id: str | None = field(repr=False)
    """None once it is done."""
    problem: str | None = None
    """Why the last attempt has not ended it."""
    receipt: dict[str, Any] | None = None
    """What was erased, and which backups have copies still; None while it is pending."""
    attempts: int = 0
    """How often it was begun."""
    erased: dict[str, int] = field(default_factory=dict)
    """What the attempts so far have erased, by layer. One that was killed could not tell."""

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

    def as_record(self) -> dict[str, Any]:
        """What may be shown of it: nothing that tells who the user is."""
        return {
            "erasure_id": self.erasure_id,
            "status": self.status,
            "requested_at": format_time(self.requested_at),
            "problem": self.problem,
            "receipt": self.receipt,
        }


def request(archive: Archive, user_id: str) -> Erasure:
    """Record that a user is to be erased. One that is pending already is given again."""
    for erasure_id in pending_ids(archive):
        with suppress(DamagedArchive):  # whoever that was; this user is to be erased all the same
            known = take_up(archive, erasure_id)
            if known is not None and known.user_id == user_id:
                return known
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
    _no_longer_pending(archive, erasure.erasure_id)
    return done


def find(archive: Archive, erasure_id: str) -> Erasure | None:
    """An erasure by its id, or None if there never was such a one."""
    try:
        known = str(UUID(erasure_id))
    except ValueError:
        return None
    # In this order: it goes from pending to done, and would else be missed in between.
    is_pending = _read(archive, _pending_name(known))
    return _read(archive, _done_name(known)) or is_pending


def pending_ids(archive: Archive) -> list[str]:
    """The ids of erasures that are to be done, the oldest first; maybe of some that are done."""
    return _ids(archive, PENDING)


def take_up(archive: Archive, erasure_id: str) -> Erasure | None:
    """An erasure that is to be done; None, and no trace of it is left pending, if it is done."""
    erasure = _read(archive, _pending_name(erasure_id))
    if erasure is not None and _read(archive, _done_name(erasure_id)) is not None:
        _no_longer_pending(archive, erasure_id)
        return None
    return erasure


def pending(archive: Archive) -> Iterator[Erasure]:
    """Erasures that are to be done, the oldest first."""
    for erasure_id in pending_ids(archive):
        erasure = find(archive, erasure_id)
        if erasure is not None and erasure.receipt is None:
            yield erasure


def done(archive: Archive) -> Iterator[Erasure]:
    """The ledger, the oldest first."""
    for erasure_id in _ids(archive, DONE):
        erasure = _read(archive, _done_name(erasure_id))
        if erasure is not None:
            yield erasure


def tidy(archive: Archive) -> None:
    """Delete what is left, with a user's id in it, of requests whose writing was cut short."""
    archive.files.remove_leftovers(f"{PENDING}/", ABANDONED_SECONDS)


def _ids(archive: Archive, folder: str) -> list[str]:
    files = archive.files.list(folder)
    return [file.removesuffix(".json") for file in files if file.endswith(".json")]


def _read(archive: Archive, name: str) -> Erasure | None:
    document = archive.files.read_document(name)
    return None if document is None else _erasure(document)


def _no_longer_pending(archive: Archive, erasure_id: str) -> None:
    archive.files.delete(_pending_name(erasure_id))
    archive.files.remove_leftovers(f"{PENDING}/{erasure_id}")


def _document(erasure: Erasure) -> dict[str, Any]:
    return {
        "erasure_id": erasure.erasure_id,
        "pseudonym": erasure.pseudonym,
        "key_id": erasure.key_id,
        "requested_at": format_time(erasure.requested_at),
        "user_id": erasure.user_id,
        "problem": erasure.problem,
        "receipt": erasure.receipt,
        "attempts": erasure.attempts,
        "erased": erasure.erased,
    }


def _erasure(document: dict[str, Any]) -> Erasure:
    requested_at = datetime.fromisoformat(document["requested_at"])
    return Erasure(**(document | {"requested_at": requested_at}))


def _pending_name(erasure_id: str) -> str:
    return f"{PENDING}/{erasure_id}.json"


def _done_name(erasure_id: str) -> str:
    return f"{DONE}/{erasure_id}.json"
