"""What a run of migrate_storage reports."""

from dataclasses import dataclass, field


@dataclass
class Copied:
    """What a run of migrate_storage has done."""

    copied: int = 0
    """Rows written that the target had not, hot and cold."""
    replaced: int = 0
    """Rows written in the place of others."""
    deleted: int = 0
    """Rows and stubs that only the target had."""
    archived: int = 0
    """Rows of these that are cold in the target now."""
    segments: int = 0
    """Segments copied from one archive to the other."""
    passes: int = 0
    expired: int = 0
    """Rows that are past their time and have not been deleted yet; they are not copied."""
    rows: int = 0
    """What both have, after the last pass."""
    days: int = 0
    """Days (UTC) on which these were created."""
    sha256: str = ""
    """Of the counts and hashes of all days."""
    differing: list[str] = field(default_factory=list)
    """Days and tiers that are not the same in both, as far as known."""
    handed_over: bool = False
    remaining: int | None = None
    """Rows found to differ in the last pass."""
