"""The states of one cache key, and what may become of them: the whole of the cache protocol.

A key is absent or holds one of: `V` and a value; `T` and a token, a reader's lease; `B` and a
token, one writer busy; `X`, several writers busy. Leases end by themselves after
LEASE_SECONDS, which must outlast the longest access to the database.

    reader   get; if absent, lease; read the database; fill
    writer   begin; commit; end

A reader fills only what it has leased, and every writer takes leases away before its commit
and after it. So whatever interleaves, is evicted, is lost or dies in between, no value
outlives a commit that it does not show. See docs/decisions and the model check in the tests.

The functions here say what each operation makes of a cell. Memory runs them as they are;
`storage.cache.redis_cells` has the same as scripts, and tests hold the two together.
"""

LEASE_SECONDS = 60.0
"""How long a reader or a writer may take: longer than all of its calls to the database.

With DynamoDB a write ends after 6 s of attempts and at most four calls of 9 s.
"""

Cell = bytes | None
"""What a key holds: a tag and a token or a value; None if it is absent."""

BUSY = b"X"


def value_of(cell: Cell) -> bytes | None:
    """The cached value, if there is one."""
    return cell[1:] if cell is not None and cell.startswith(b"V") else None


def lease(cell: Cell, token: bytes) -> Cell:
    """A reader who found nothing asks to fill. It has the lease if this is `T` and its token."""
    return b"T" + token if cell is None else cell


def fill(cell: Cell, token: bytes, value: bytes) -> Cell:
    """A reader who has read the database gives what it found."""
    return b"V" + value if cell == b"T" + token else cell


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
