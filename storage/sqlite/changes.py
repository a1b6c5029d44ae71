"""Detects changes of a SQLite database, for `storage.cache.in_memory`."""

from storage.sql.errors import translated
from storage.sqlite.statements import Statements
from storage.sqlite.writer import Version


class Changes:
    """The version of the database, which `storage.sqlite.writer` knows."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def version(self) -> Version | None:
        """See `storage.cache.in_memory.Changes.version`."""
        return self._statements.version()

    def last_version(self) -> Version | None:
        """See `storage.cache.in_memory.Changes.last_version`."""
        return self._statements.version(last=True)

    def committed_as(self) -> Version | None:
        """See `storage.cache.in_memory.Changes.committed_as`."""
        return self._statements.committed_as()

    def erasures(self) -> int:
        """See `storage.cache.in_memory.Changes.erasures`; `count_erasure` increments it."""
        with translated:
            return int(self._statements.rows("PRAGMA user_version", {})[0][0])


def count_erasure(statements: Statements) -> None:
    """Make all processes clear their memory cache. Call it in the transaction of an erasure."""
    (count,) = statements.rows("PRAGMA user_version", {})[0]
    statements.rows(f"PRAGMA user_version = {(count + 1) % 2**31}", {})
