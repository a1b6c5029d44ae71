"""The cache protocol: the states of one cache key (a cell), and the changes between them.

A key is absent, or holds one of these:

    V and a value
    T and a token    a reader's lease
    B and a token    the mark of one writer that is busy
    X                the mark of several busy writers, or of one that does not know the value

Leases and marks expire after LEASE_SECONDS, which is longer than any access to the database.

    reader                                  get; if absent, lease; read the database; fill
    writer of the value                     begin; commit; end
    writer on whom the value depends        mark; commit; mark

A reader can fill only a key on which it still holds the lease, and every writer removes the lease
before and after its commit. So no cached value survives a commit that made it out of date: however
the steps interleave, whatever is evicted or lost, and whichever process dies in between. See
docs/decisions/0015-leases.md and the model check in the tests.

The functions here define what each operation does to a cell. `storage.cache.redis_cells` does the
same in scripts, and tests check that both agree.
"""

LEASE_SECONDS = 60.0
"""The lifetime of a lease or mark: longer than all database calls of one read or write.

With DynamoDB a write ends after 6 s of attempts and four calls of 9 s, or after six such calls.
"""

Cell = bytes | None
"""The content of a key: a tag, followed by a token or a value. None if the key is absent."""

BUSY = b"X"

VALUE_MAX_BYTES = 262_144
"""The largest value that is cached. A larger interaction is read from the database each time, so
that a few of them do not push out thousands of others."""

_MARK_MAX_BYTES = 64
"""Tag and token are shorter. A longer cell without the tag V was not written by this code."""


def value_of(cell: Cell) -> bytes | None:
    """Returns the cached value, or None."""
    return cell[1:] if cell is not None and cell.startswith(b"V") else None


def is_leased(cell: Cell) -> bool:
    """Whether it is a reader's lease."""
    return cell is not None and cell.startswith(b"T") and len(cell) <= _MARK_MAX_BYTES


def is_lease_or_mark(cell: Cell) -> bool:
    """Whether it is a reader's lease or a writer's mark."""
    return cell == BUSY or (
        cell is not None and cell[:1] in (b"T", b"B") and len(cell) <= _MARK_MAX_BYTES
    )


def lease(cell: Cell, token: bytes) -> Cell:
    """A reader found nothing and asks for the lease, which is its own if it has its token."""
    return b"T" + token if cell is None else cell


def fill(cell: Cell, token: bytes, value: bytes | None) -> Cell:
    """A reader stores what it read in the database. With None it only ends its lease."""
    if cell != b"T" + token:
        return cell
    return None if value is None else b"V" + value


def begin(cell: Cell, token: bytes) -> Cell:
    """A writer is about to commit."""
    if cell is not None and cell[:1] in (b"B", BUSY):
        return BUSY
    return b"B" + token


def end(cell: Cell, token: bytes, value: bytes | None) -> Cell:
    """A writer has committed `value`. None if that is a deletion, or `begin` was not confirmed."""
    if cell == b"B" + token:
        return None if value is None else b"V" + value
    if cell is None or cell == BUSY:
        return cell
    if cell.startswith(b"B"):
        return BUSY
    return None


def mark(cell: Cell) -> Cell:
    """A writer is about to commit, or has committed, something on which the value depends.

    The mark stays after the commit, until an index that lags shows the change.
    """
    return BUSY


def drop(cell: Cell) -> Cell:
    """A reader found a value that is of no use, or foreign. Leases and marks stay."""
    return cell if is_lease_or_mark(cell) else None
