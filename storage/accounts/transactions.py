"""Transactions of the SQL database with the accounts, whichever it is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import connections, transaction

from storage.sql.vendors import is_postgresql, lock_until_commit
from storage.sqlite.statements import Statements

T = TypeVar("T")

ALIAS = "default"


def in_transaction(work: Callable[[], T]) -> T:
    """Run `work` in a transaction; returns its result. Raises DatabaseError, and what it raises."""
    if not is_postgresql(ALIAS):
        return Statements(ALIAS).transaction(work)
    with transaction.atomic(ALIAS):
        return work()


def one_at_a_time(name: str, work: Callable[[], T]) -> T:
    """As `in_transaction`; meanwhile nobody else, on any machine, runs what has the same name."""

    def alone() -> T:
        lock_until_commit(name, ALIAS)
        return work()

    return in_transaction(alone)


def run_for_each(sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run a statement that writes, with `%(name)s` for values, once for each row.

    Call it in a transaction, with the rows in the order of their keys: PostgreSQL ends one of two
    transactions that wait for each other's rows.
    """
    if rows:
        with connections[ALIAS].cursor() as cursor:
            cursor.executemany(sql, rows)
