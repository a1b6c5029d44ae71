"""What a run of migrate_storage reports."""

from dataclasses import dataclass, field


@dataclass
class Copied:
    """What a run of migrate_storage has done."""

    copied: int = 0
    """Rows written that the target did not have, hot and cold."""
    replaced: int = 0
    """Rows written in place of different ones."""
    deleted: int = 0
    """Rows and stubs that only the target had."""
    archived: int = 0
    """Of the rows written, those that are now cold in the target."""
    segments: int = 0
    """Segments copied from one archive to the other."""
    passes: int = 0
    expired: int = 0
    """Rows past the retention cutoff that are not deleted yet. They are not copied."""
    rows: int = 0
    """Rows that both had in the last pass."""
    days: int = 0
    """The number of days (UTC) on which these rows were created."""
    sha256: str = ""
    """Of the counts and hashes of all days."""
    differing: list[str] = field(default_factory=list)
    """Days and tiers that differed in the last pass."""
    handed_over: bool = False
    remaining: int | None = None
    """Differences that the last pass found."""
