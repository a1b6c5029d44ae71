"""Damage to the file of the search index, whoever notices it."""

import sqlite3


def damage(problem: str) -> sqlite3.DatabaseError:
    """The error of SQLite for a file that is no sound database."""
    error = sqlite3.DatabaseError(problem)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is no sound database."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
