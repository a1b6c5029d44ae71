"""Legal holds: users and days whose interactions may not be deleted, however old they are.

They are kept in the archive, where restoring a backup of the database does not change them.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Literal

import msgspec

from storage.archive.archive import Archive
from storage.archive.manifests import Manifest
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
        return f"{FOLDER}/{self.kind}-{hashlib.sha256(self.value.encode()).hexdigest()}.json"


class Holds:
    """All holds at one moment."""

    def __init__(self, holds: Iterable[Hold]) -> None:
        self.all = sorted(holds, key=lambda hold: (hold.kind, hold.value))
        self.users = {hold.value for hold in self.all if hold.kind == "user"}
        self.days = {date.fromisoformat(hold.value) for hold in self.all if hold.kind == "day"}

    @classmethod
    def of(cls, archive: Archive) -> "Holds":
        """Returns the holds there are now. Raises DamagedArchive. Read them once a run."""
        files = archive.files
        documents = (files.read_document(f"{FOLDER}/{name}") for name in files.list(FOLDER))
        return cls(msgspec.convert(document, Hold) for document in documents if document)

    def find(self, kind: Kind, value: str) -> Hold | None:
        """The hold on a user or a day, or None."""
        return next((hold for hold in self.all if (hold.kind, hold.value) == (kind, value)), None)

    def holds(self, interaction: ChatInteraction) -> bool:
        """Whether this interaction may not be deleted."""
        return interaction.user_id in self.users or interaction.created_at.date() in self.days

    def may_hold(self, manifest: Manifest) -> bool:
        """Whether a segment may have rows that are held."""
        return manifest.oldest.date() in self.days or any(map(manifest.may_hold, self.users))


def put(archive: Archive, hold: Hold) -> None:
    """Hold a user or a day from now on. If it is held already, the reason is replaced."""
    document = asdict(hold) | {"since": format_time(hold.since)}
    archive.files.write_document(hold.name, document)


def lift(archive: Archive, hold: Hold) -> None:
    """Lift a hold. What is past the retention cutoff is deleted by the next purge."""
    archive.files.delete(hold.name)
