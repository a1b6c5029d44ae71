"""Which versions of the SQLite library are safe.

SQLite 3.7.0 to 3.51.2 can corrupt a database in WAL mode when several connections write
and checkpoint at the same moment ("WAL-reset bug"). 3.44.6 and 3.50.7 have the fix, too.
https://sqlite.org/wal.html#walresetbug
"""

Version = tuple[int, ...]

_FIXED_IN_BRANCH: dict[Version, Version] = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}


def has_wal_reset_bug(version: Version) -> bool:
    """Whether this version of the SQLite library can corrupt a database in WAL mode."""
    if version < (3, 7, 0):
        return False
    fixed_in_branch = _FIXED_IN_BRANCH.get(version[:2])
    return version < (fixed_in_branch or (3, 51, 3))
