"""Legal holds: users and days whose interactions may not be deleted, however old they are.

They are kept in the archive, where restoring a backup of the database does not change them.

What is held and has expired stays in the archive, and its stub goes. If RETENTION_TOTAL_DAYS is
more later, it has not expired any more, and that it has no stub must not look as if it had been
deleted. So a document remembers which of what is held may be without (`lost_stubs_until`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Literal

import msgspec

from chat.maintenance.policy import Policy
from storage import expiry
from storage.archive.archive import Archive
from storage.archive.manifests import Manifest
from storage.archive.pseudonyms import Sought
from storage.models import ChatInteraction
from storage.records.json import format_time

FOLDER = "holds"

LOST_STUBS = "held.json"
"""The document about what is held and may have lost its stub."""

Kind = Literal["user", "day"]


@dataclass(frozen=True)
class Hold:
    """A hold on a user's interactions, or on all that were created on a day (UTC)."""

    kind: Kind
    value: str
    """The user's id, or the day as `2026-10-23`."""
    reason: str
    since: datetime

    @property
    def name(self) -> str:
        """The file that keeps the hold."""
        return _name(self.kind, self.value)


class Holds:
    """All holds at one moment."""

    def __init__(self, holds: Iterable[Hold]) -> None:
        self.all = sorted(holds, key=lambda hold: (hold.kind, hold.value))
        self.users = {hold.value for hold in self.all if hold.kind == "user"}
        self.days = {date.fromisoformat(hold.value) for hold in self.all if hold.kind == "day"}
        self._by_user = {hold.value: hold for hold in self.all if hold.kind == "user"}

    @classmethod
    def of(cls, archive: Archive) -> "Holds":
        """Returns the holds there are now. Raises DamagedArchive. Read them once a run."""
        return cls(_read(archive, archive.files.list(FOLDER)))

    @classmethod
    def that_may_concern(cls, archive: Archive, user_id: str) -> "Holds":
        """As `of`, but of the holds on users only the one on this user, if there is one.

        Lists all holds, and reads no others.
        """
        days = [file for file in archive.files.list(FOLDER) if file.startswith("day-")]
        on_user = find(archive, "user", user_id)
        return cls([*_read(archive, days), *([on_user] if on_user else [])])

    def on(self, user_id: str) -> Hold | None:
        """The hold on a user, or None."""
        return self._by_user.get(user_id)

    def holds(self, interaction: ChatInteraction) -> bool:
        """Whether this interaction may not be deleted."""
        return interaction.user_id in self.users or interaction.created_at.date() in self.days

    def may_hold(self, manifest: Manifest) -> bool:
        """Whether a segment may have rows that are held."""
        return manifest.oldest.date() in self.days or manifest.may_hold_any(self._sought)

    @cached_property
    def _sought(self) -> Sought:
        return Sought(self.users)


def find(archive: Archive, kind: Kind, value: str) -> Hold | None:
    """The hold on a user or a day, or None. Reads one file."""
    document = archive.files.read_document(_name(kind, value))
    return None if document is None else msgspec.convert(document, Hold)


def some(archive: Archive, at_most: int) -> tuple[list[Hold], int]:
    """Up to so many holds, those on days first, and how many there are besides. Lists them all."""
    files = archive.files.list(FOLDER)
    return list(_read(archive, files[:at_most])), max(len(files) - at_most, 0)


def count(archive: Archive) -> int:
    """How many holds there are. Lists them, and reads none."""
    return len(archive.files.list(FOLDER))


def by_file(archive: Archive, known: Mapping[str, Hold]) -> dict[str, Hold]:
    """The holds there are now, by the names of their files. Reads those that are not `known`.

    The user or the day of a known one is the same. Its reason may be another by now.
    """
    found = {}
    for file in archive.files.list(FOLDER):
        hold = known.get(file) or next(_read(archive, [file]), None)
        if hold is not None:
            found[file] = hold
    return found


def add(archive: Archive, hold: Hold) -> None:
    """Hold a user or a day from now on. If it is held already, since then, for the new reason."""
    known = find(archive, hold.kind, hold.value)
    put(archive, replace(hold, since=known.since) if known else hold)


def put(archive: Archive, hold: Hold) -> None:
    """Write a hold, in place of the one there may be."""
    document = asdict(hold) | {"since": format_time(hold.since)}
    archive.files.write_document(hold.name, document)


def lift(archive: Archive, hold: Hold) -> None:
    """Lift a hold. What is past the retention cutoff is deleted by the next purge."""
    archive.files.delete(hold.name)


def note_lost_stubs(archive: Archive, policy: Policy) -> None:
    """Remember that what is held and was created up to a cutoff is about to lose its stub.

    On DynamoDB it has lost it by the days of when the stub was written, so the fewest count.
    """
    until, days = policy.cutoff, policy.total_days
    if known := _lost_stubs(archive):
        until, days = max(until, known[0]), min(days, known[1])
    if known != (until, days):
        document = {"until": format_time(until), "days": days}
        archive.files.write_document(LOST_STUBS, document)


def lost_stubs_until(archive: Archive) -> datetime:
    """What was created then or before, and is held, may have lost its stub. Reads one file."""
    known = _lost_stubs(archive)
    if known is None:
        return expiry.BEGINNING
    return max(known[0], expiry.days_before(datetime.now(UTC), known[1]))


def copy_lost_stubs(source: Archive, target: Archive) -> None:
    """Let another archive remember the same."""
    document = source.files.read_document(LOST_STUBS)
    if document is not None and target.files.read_document(LOST_STUBS) != document:
        target.files.write_document(LOST_STUBS, document)


def _lost_stubs(archive: Archive) -> tuple[datetime, int] | None:
    document = archive.files.read_document(LOST_STUBS)
    if document is None:
        return None
    return datetime.fromisoformat(document["until"]), int(document["days"])


def _read(archive: Archive, files: Iterable[str]) -> Iterator[Hold]:
    for file in files:
        document = archive.files.read_document(f"{FOLDER}/{file}")
        if document:
            yield msgspec.convert(document, Hold)


def _name(kind: Kind, value: str) -> str:
    return f"{FOLDER}/{kind}-{hashlib.sha256(value.encode()).hexdigest()}.json"
