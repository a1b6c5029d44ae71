"""Sums of usage, which end at SUM_MAX.

Integers of SQLite, PostgreSQL and JSON have 64 bits. A thousand calls exceed that if each has as
many tokens as a call may have.
"""

SUM_MAX = 9 * 10**18


def bounded(number: float) -> int:
    """A sum as it is kept and shown. SQLite makes a float of one that is too large."""
    return max(min(int(number), SUM_MAX), -SUM_MAX)


def added(name: str) -> str:
    """SQL: a column of the row `stored`, to which that of the row `excluded` is added.

    Nothing in it exceeds 64 bits, which is an error in PostgreSQL.
    """
    stored, more = f"stored.{name}", f"excluded.{name}"
    return (
        f"CASE WHEN {more} > 0 "
        f"THEN CASE WHEN {stored} > {SUM_MAX} - {more} THEN {SUM_MAX} ELSE {stored} + {more} END "
        f"WHEN {stored} < -{SUM_MAX} - {more} THEN -{SUM_MAX} ELSE {stored} + {more} END"
    )


def total(numbers: str) -> str:
    """SQL: the sum of an expression as an integer, in SQLite as in PostgreSQL."""
    found = f"sum(1.0 * ({numbers}))"  # SQLite's sum of integers raises an error, not so of floats
    return (
        f"CASE WHEN {found} > {SUM_MAX} THEN {SUM_MAX} WHEN {found} < -{SUM_MAX} THEN -{SUM_MAX} "
        f"ELSE CAST({found} AS bigint) END"
    )
