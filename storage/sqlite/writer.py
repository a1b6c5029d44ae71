"""The connection through which a process commits what its storage saves.

All groups of writes (`storage.sqlite.groups`) are committed through this one connection. So its
`PRAGMA data_version`, which changes with every commit of any other connection, tells the commits of
others from those of this process, which are counted here.
https://sqlite.org/pragma.html#pragma_data_version
"""

import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from sqlite3 import Connection, OperationalError
from typing import Any, Protocol

from storage.sqlite import turns
from storage.sqlite.groups import Groups, Take, Work, Write
from storage.sqlite.open_files import OpenFiles

Version = tuple[int, int, int]
"""Of a database: the number of the connection, its data_version, and commits through it."""

Outcome = tuple[Any, Exception | None]
"""The result of a write, or the error with which it failed."""

PAGE_CACHE_KIB = 2_000
"""SQLite's default, named because it is set again after each group with a batch."""

PAGE_CACHE_OF_BATCHES_KIB = 16_000
"""The default holds fewer pages than a group of batches changes. Then SQLite writes them to the log
in between, and again when they change again: a row among 1,600 took 1.3 times as long. Single saves
gain nothing by it, and would fill it little by little.
"""

_numbers = itertools.count()


class Wrapper(Protocol):
    """The database as one thread uses it: see `storage.sqlite.base`."""

    def open(self) -> Connection:
        """Returns a new connection."""

    def let_go(self) -> None:
        """Give back the connection that this thread holds outside a transaction."""

    def run_on(self, connection: Connection, work: Work) -> Any:
        """Returns the result of `work`, whose statements run on this connection."""


class Writer:
    """Commits in groups, and knows the version of the database."""

    def __init__(self, database: str, timeout: float, files: OpenFiles) -> None:
        self._database = database
        self._timeout = timeout
        self._files = files
        self._groups = Groups()
        self._lock = threading.Lock()
        """Whoever has it uses the connection: SQLite lets one thread in at a time."""
        self._connection: Connection | None = None
        self._number = 0
        self._commits = 0
        self._seen: tuple[int, int] | None = None
        """The connection's number and the data_version that was read last; None if none was."""

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    def commit(
        self, wrapper: Wrapper, work: Work, interaction_id: str | None
    ) -> tuple[Any, Version | None]:
        """Run `work` in a transaction and commit it. Returns its result.

        Also returns the version after the commit, if what it wrote under `interaction_id` is valid
        at that version. Raises what `work` raises; then the database is unchanged.
        """
        write = Write(work, interaction_id)
        self._groups.run(
            write,
            self._timeout,
            wrapper.let_go,
            lambda take: self._in_turn(wrapper, write, take),
        )
        if write.error is not None:
            raise write.error
        result: tuple[Any, Version | None] = write.result
        return result

    def version(self, wrapper: Wrapper) -> Version | None:
        """The version of the database now, or None while this process commits."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            (seen,) = self._opened(wrapper).execute("PRAGMA data_version").fetchone()
            self._seen = (self._number, seen)
            return (*self._seen, self._commits)
        finally:
            self._lock.release()

    def last_version(self) -> Version | None:
        """The version now, if no other has committed since `version` was called. None before that.

        It costs nothing, and what is read after it is valid if it still is the version later.
        """
        seen = self._seen
        return None if seen is None else (*seen, self._commits)

    def close(self) -> None:
        """Close the connection, unless it is in use. The next use opens another."""
        if self._lock.acquire(blocking=False):
            try:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                    self._files.closed()
            finally:
                self._lock.release()

    def _in_turn(self, wrapper: Wrapper, leader: Write, take: Take) -> None:
        turn = turns.turn(self._database)
        try:
            if not turn.come(0):
                wrapper.let_go()
                if not turn.come(self._left(leader)):
                    took = f"other writers took {self._timeout:g} s"
                    raise OperationalError(f"database is locked: {took}")
            with self._lock:
                connection = self._opened(wrapper)
                self._begin(connection, self._left(leader))
                try:
                    writes = take()
                    with _room_for(connection, writes):
                        self._commit_all(wrapper, connection, writes)
                except BaseException:
                    _roll_back(connection)
                    raise
        finally:
            turn.end()

    def _left(self, write: Write) -> float:
        return max(self._timeout - (time.monotonic() - write.came), 0)

    def _opened(self, wrapper: Wrapper) -> Connection:
        if self._files.are_gone:
            self._files.check()  # they may be back
        if self._connection is None:
            self._connection = wrapper.open()
            self._seen = None
            self._number = next(_numbers)
        return self._connection

    def _begin(self, connection: Connection, seconds: float) -> None:
        waits_less = seconds < 0.99 * self._timeout
        if waits_less:
            connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            if waits_less:
                connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")

    def _commit_all(
        self, wrapper: Wrapper, connection: Connection, writes: Sequence[Write]
    ) -> None:
        try:
            outcomes = self._outcomes(wrapper, connection, writes)
        except sqlite3.Error as error:
            _roll_back(connection)
            if len(writes) == 1:
                writes[0].end(None, error)
            else:
                self._commit_each(wrapper, connection, writes)
            return
        for write, (result, failure) in zip(writes, outcomes, strict=True):
            write.end(result, failure)

    def _commit_each(
        self, wrapper: Wrapper, connection: Connection, writes: Sequence[Write]
    ) -> None:
        """After all were undone, for one of them: a disk can be full for that one only."""
        for index, write in enumerate(writes):
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:  # no other has to wait for it as long again
                for rest in writes[index:]:
                    rest.end(None, error)
                return
            self._commit_all(wrapper, connection, [write])

    def _outcomes(
        self, wrapper: Wrapper, connection: Connection, writes: Sequence[Write]
    ) -> list[Outcome]:
        """Do and commit the writes. Returns a result or an error of each.

        Raises sqlite3.Error if nothing was committed.
        """
        outcomes = _outcomes_at_once(wrapper, connection, writes)
        if outcomes[-1][1] is not None:  # one has failed
            _roll_back(connection)
            if len(writes) == 1:
                return outcomes
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_outcome_by_itself(wrapper, connection, write) for write in writes]
        connection.execute("COMMIT")
        self._commits += 1
        try:
            self._files.check()
        except OperationalError as error:
            return [(None, error)] * len(writes)
        versions = self._versions(writes)
        return [
            ((result, version), error)
            for (result, error), version in zip(outcomes, versions, strict=True)
        ]

    def _versions(self, writes: Sequence[Write]) -> list[Version | None]:
        """The version after a commit, for each write whose interaction no other has changed in it.

        If others have committed since `_seen`, the database is at another one, at which nothing
        that is kept under this one is valid.
        """
        version = self.last_version()
        ids = [write.interaction_id for write in writes]
        return [version if ids.count(changed) == 1 else None for changed in ids]


@contextmanager
def _room_for(connection: Connection, writes: Sequence[Write]) -> Iterator[None]:
    """In this block the pages that a group with a batch changes stay in memory."""
    if all(write.interaction_id for write in writes):
        yield
        return
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_OF_BATCHES_KIB}")
    try:
        yield
    finally:
        with suppress(sqlite3.Error):  # the writes are committed, or have failed, already
            connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")


def _outcomes_at_once(
    wrapper: Wrapper, connection: Connection, writes: Sequence[Write]
) -> list[Outcome]:
    """Do the writes, up to the first that fails. Then the whole transaction is to be undone.

    Without savepoints: for each of them SQLite keeps the pages as they were, which is a fifth of a
    batch.
    """
    outcomes: list[Outcome] = []
    for write in writes:
        outcomes.append(_outcome(wrapper, connection, write))
        if outcomes[-1][1] is not None:
            break
    return outcomes


def _outcome_by_itself(wrapper: Wrapper, connection: Connection, write: Write) -> Outcome:
    """Do a write. If it fails, it takes back what it has done itself."""
    connection.execute("SAVEPOINT one_write")
    outcome = _outcome(wrapper, connection, write)
    if outcome[1] is not None:  # raises if SQLite has undone the whole transaction
        connection.execute("ROLLBACK TO one_write")
    connection.execute("RELEASE one_write")
    return outcome


def _outcome(wrapper: Wrapper, connection: Connection, write: Write) -> Outcome:
    try:
        return wrapper.run_on(connection, write.work), None
    except Exception as error:
        return None, error


def _roll_back(connection: Connection) -> None:
    with suppress(sqlite3.Error):  # SQLite has undone it already
        connection.execute("ROLLBACK")
