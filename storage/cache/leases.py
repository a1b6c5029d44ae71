"""The states of one cache key, and what may become of them: the whole of the cache protocol.

A key is absent or holds one of: `V` and a value; `T` and a token, a reader's lease; `B` and a
token, one writer busy; `X`, several writers busy, or one that does not know the value. Leases
and marks end by themselves after LEASE_SECONDS, which must outlast the longest access to the
database.

    reader                            get; if absent, lease; read the database; fill
    writer of the value               begin; commit; end
    writer of what the value follows  mark; commit; mark

A reader fills only what it has leased, and every writer takes leases away before its commit
and after it. So whatever interleaves, is evicted, is lost or dies in between, no value
outlives a commit that it does not show. See docs/decisions and the model check in the tests.

The functions here say what each operation makes of a cell. Memory runs them as they are;
`storage.cache.redis_cells` has the same as scripts, and tests hold the two together.
"""

LEASE_SECONDS = 60.0
"""How long a reader or a writer may take: longer than all of its calls to the database.

With DynamoDB a write ends after 6 s of attempts and four calls of 9 s, or six such calls.
"""

Cell = bytes | None
"""What a key holds: a tag and a token or a value; None if it is absent."""

BUSY = b"X"

VALUE_MAX_BYTES = 2_500_000
"""More than the longest JSON of an interaction: 390,000 bytes of text, each escaped as six."""

_MARK_MAX_BYTES = 64
"""A tag and a token are shorter; what is longer and no value is nothing of ours."""


def value_of(cell: Cell) -> bytes | None:
    """The cached value, if there is one."""
    return cell[1:] if cell is not None and cell.startswith(b"V") else None


def is_leased(cell: Cell) -> bool:
    """Whether a reader is about to fill it."""
    return cell is not None and cell.startswith(b"T") and len(cell) <= _MARK_MAX_BYTES


def is_mark(cell: Cell) -> bool:
    """Whether it holds a lease or a writer's mark."""
    return cell == BUSY or (
        cell is not None and cell[:1] in (b"T", b"B") and len(cell) <= _MARK_MAX_BYTES
    )


def lease(cell: Cell, token: bytes) -> Cell:
    """A reader who found nothing asks to fill. It has the lease if this is `T` and its token."""
    return b"T" + token if cell is None else cell


def fill(cell: Cell, token: bytes, value: bytes | None) -> Cell:
    """A reader who has read the database gives what it found; None gives the lease back."""
    if cell != b"T" + token:
        return cell
    return None if value is None else b"V" + value


def begin(cell: Cell, token: bytes) -> Cell:
    """A writer is about to commit."""
    if cell is not None and cell[:1] in (b"B", BUSY):
        return BUSY
    return b"B" + token


def end(cell: Cell, token: bytes, value: bytes | None) -> Cell:
    """A writer has committed `value`; None if it is deleted, or if `begin` was not confirmed."""
    if cell == b"B" + token:
        return None if value is None else b"V" + value
    if cell is None or cell == BUSY:
        return cell
    if cell.startswith(b"B"):
        return BUSY
    return None


def mark(cell: Cell) -> Cell:
    """A writer is about to commit, or has committed, something that the value follows from.

    The mark stays after the commit, so that a reader has time to see an index that lags.
    """
    return BUSY


def drop(cell: Cell) -> Cell:
    """A reader found a value that is of no use, or nothing of ours; leases and marks stay."""
    return cell if is_mark(cell) else None
