"""Runs SQL statements: on the connection of the calling thread, or on one borrowed for each."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from sqlite3 import Error
from typing import Any, TypeVar

from django.db import connections, transaction

from storage.sql.errors import translate
from storage.sqlite.writer import Version, Writer

T = TypeVar("T")


class _OfThread(threading.local):
    """Django's wrapper of the calling thread. To look it up takes longer than a borrowing."""

    def __init__(self, alias: str) -> None:
        self.wrapper: Any = connections[alias]
        self.committed_as: Version | None = None


class Statements:
    """Runs statements without Django's cursors, which take more time than SQLite itself."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._of_thread = _OfThread(alias)

    def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement; returns all its rows."""
        wrapper = self._of_thread.wrapper
        pool = None
        try:  # not `_borrowed`, which would cost a fifth of a read by id
            connection = wrapper.connection
            if connection is None:
                connection, pool = _lent_to(wrapper)
            rows: list[tuple[Any, ...]] = connection.execute(sql, parameters).fetchall()
            return rows
        except Error:
            with wrapper.wrap_database_errors:
                raise
        finally:
            if pool is not None:
                pool.give_back(connection)

    @contextmanager
    def cursor(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        """Run a statement, whose rows are then read one by one."""
        with self._borrowed() as connection, closing(connection.execute(sql, parameters)) as cursor:
            yield cursor

    def many(self, sql: str, parameters: Sequence[Mapping[str, Any] | Sequence[Any]]) -> int:
        """Run a statement that writes once for each of the parameters. Call it in a transaction.

        Returns how many rows it changed in all.
        """
        with self._borrowed() as connection:
            return int(connection.executemany(sql, parameters).rowcount)

    def write(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """As `rows`, for a statement that writes."""
        with self.writing():
            return self.rows(sql, parameters)

    def changed(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Run a statement that writes; returns how many rows it changed."""
        wrapper = self._of_thread.wrapper
        with self.writing() as connection, wrapper.wrap_database_errors:
            return int(connection.execute(sql, parameters).rowcount)

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """In this block it is this thread's turn to write; yields the connection of the block.

        See `DatabaseWrapper.writing`.
        """
        wrapper = self._of_thread.wrapper
        holds_one = wrapper.connection is not None
        try:
            with wrapper.writing():
                wrapper.ensure_connection()
                yield wrapper.connection
        finally:
            if not holds_one and not wrapper.in_transaction():
                wrapper.close()

    def transaction(self, work: Callable[[], T], interaction_id: str | None = None) -> T:
        """Run `work` in a transaction, which other threads may share; returns its result.

        Returns once it is committed, unless this thread is in a transaction of its own. Raises what
        `work` raises, and then takes back what that has done. For `interaction_id`, see
        `Writer.commit`.
        """
        wrapper, self._of_thread.committed_as = self._of_thread.wrapper, None
        with wrapper.wrap_database_errors:
            if not wrapper.shares_commits:
                if not (wrapper.autocommit or wrapper.in_transaction()):
                    self.write("BEGIN IMMEDIATE", {})  # or the end of `atomic` would commit
                with transaction.atomic(self.alias):
                    return work()
            result: T
            result, version = wrapper.pool.writer.commit(wrapper, work, interaction_id)
        self._of_thread.committed_as = version
        return result

    def committed_as(self) -> Version | None:
        """The version of the database right after the last `transaction` of this thread.

        None if that is not committed, or if what it wrote may not be what is stored then.
        """
        return self._of_thread.committed_as

    def version(self, *, last: bool = False) -> Version | None:
        """The version of the database now. None in a transaction, and while others commit.

        With `last`, the one that `Writer.last_version` gives. Raises StorageUnavailable.
        """
        wrapper = self._of_thread.wrapper
        connection = wrapper.connection
        if connection is not None and connection.in_transaction:
            return None
        try:
            pool = wrapper.pool
            if pool is None:
                return None
            writer: Writer = pool.writer
            return writer.last_version() if last else writer.version(wrapper)
        except Error as error:
            raise translate(error) from error

    def tables(self) -> list[str]:
        """Returns the names of all tables."""
        return connections[self.alias].introspection.table_names()

    def in_transaction(self) -> bool:
        """Whether the calling thread is in a transaction."""
        found: bool = self._of_thread.wrapper.in_transaction()
        return found

    @contextmanager
    def held(self) -> Iterator[Any]:
        """In this block all statements of this thread run on one connection, which it yields."""
        wrapper = self._of_thread.wrapper
        if wrapper.connection is not None:
            yield wrapper.connection
            return
        wrapper.ensure_connection()
        try:
            yield wrapper.connection
        finally:
            wrapper.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see the same state. Django's `atomic` would lock out writers."""
        if self.in_transaction():
            yield
            return
        with self.held():
            self.rows("BEGIN", {})
            try:
                yield
            finally:
                self.rows("COMMIT", {})

    def check_files(self) -> None:
        """As `DatabaseWrapper.check_files`."""
        self._of_thread.wrapper.check_files()

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        wrapper = self._of_thread.wrapper
        with wrapper.wrap_database_errors:
            connection, pool = wrapper.connection, None
            if connection is None:
                connection, pool = _lent_to(wrapper)
            try:
                yield connection
            finally:
                if pool is not None:
                    pool.give_back(connection)


def _lent_to(wrapper: Any) -> tuple[Any, Any]:
    """A connection, and the pool to which to give it back, or None if `wrapper` keeps it."""
    pool = wrapper.pool
    if pool is not None:
        return pool.borrow(wrapper.open), pool
    wrapper.ensure_connection()
    return wrapper.connection, None
