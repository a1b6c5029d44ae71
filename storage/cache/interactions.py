"""Read-through and write-through for interactions by id: the protocol of `storage.cache.leases`."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from storage import expiry
from storage.cache import leases
from storage.cache.keys import interaction_key
from storage.cache.leases import Cell
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction
from storage.records import Stored


class Cells(Protocol):
    """Where cells are kept. Never raises: what cannot be asked is busy, or not confirmed."""

    def get(self, key: str) -> Cell:
        """The cell; BUSY if it cannot be told."""

    def lease(self, key: str, token: bytes) -> bool:
        """Whether the reader has the lease."""

    def fill(self, key: str, token: bytes, value: bytes, seconds: float) -> None:
        """Put a value where the reader has a lease."""

    def begin(self, key: str, token: bytes) -> bool:
        """Whether it is confirmed that all know of the writer."""

    def end(self, key: str, token: bytes, value: bytes | None, seconds: float) -> None:
        """A writer has committed."""

    def drop(self, key: str) -> None:
        """Remove what is not fit to be there."""


class Writing:
    """One write to an interaction; says `committed` as soon as the database has it."""

    def __init__(self) -> None:
        self.result: ChatInteraction | None = None

    def committed(self, interaction: ChatInteraction) -> None:
        """The database has this now. Without it, the key is just freed."""
        self.result = interaction


class InteractionCache:
    """Interactions by id, in cells, for `ttl` seconds and never past their own expiry."""

    def __init__(self, cells: Cells, ttl: float) -> None:
        self._cells = cells
        self._ttl = ttl

    def get(
        self, interaction_id: str, read: Callable[[str], ChatInteraction | None]
    ) -> Stored | None:
        """The cached interaction, or the one that `read` finds, which is then cached.

        `read` must give what the database has at that moment, all commits included.
        """
        key = interaction_key(interaction_id)
        cell = self._cells.get(key)
        found = self._cached(key, interaction_id, cell)
        if found is not None:
            return found
        token = _token()
        may_fill = cell is None and self._cells.lease(key, token)
        interaction = read(interaction_id)
        if interaction is None:
            return None
        found = Stored(interaction=interaction)
        if may_fill:
            self._cells.fill(key, token, found.json, self._seconds(interaction))
        return found

    @contextmanager
    def writing(self, interaction_id: str) -> Iterator[Writing]:
        """Around a write to the database, from before its first to after its last request."""
        key, token, writing = interaction_key(interaction_id), _token(), Writing()
        confirmed = self._cells.begin(key, token)
        try:
            yield writing
        except StorageUnavailable:
            raise  # it may take effect yet, so the key stays busy until its lease ends
        except BaseException:
            self._cells.end(key, token, None, 0)
            raise
        result = writing.result
        if result is None or not confirmed:
            self._cells.end(key, token, None, 0)
        else:
            value = Stored(interaction=result).json
            self._cells.end(key, token, value, self._seconds(result))

    def _cached(self, key: str, interaction_id: str, cell: Cell) -> Stored | None:
        value = leases.value_of(cell)
        if value is None:
            return None
        found = Stored(json=value)
        try:
            cached = found.interaction
            if cached.interaction_id == interaction_id and not expiry.has_expired(
                cached.created_at
            ):
                return found
        except (ValueError, RecursionError):
            pass  # not what this project wrote
        self._cells.drop(key)
        return None

    def _seconds(self, interaction: ChatInteraction) -> float:
        return min(self._ttl, expiry.seconds_left(interaction.created_at))


def _token() -> bytes:
    return secrets.token_hex(8).encode()
