"""Legal holds: users and days whose interactions may not be deleted, however old they are.

They are kept in the archive, where restoring a backup of the database does not change them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Literal

import msgspec

from storage.archive.archive import Archive
from storage.archive.manifests import Manifest
from storage.archive.pseudonyms import Sought
from storage.models import ChatInteraction
from storage.records.json import format_time

FOLDER = "holds"

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


def _read(archive: Archive, files: Iterable[str]) -> Iterator[Hold]:
    for file in files:
        document = archive.files.read_document(f"{FOLDER}/{file}")
        if document:
            yield msgspec.convert(document, Hold)


def _name(kind: Kind, value: str) -> str:
    return f"{FOLDER}/{kind}-{hashlib.sha256(value.encode()).hexdigest()}.json"
