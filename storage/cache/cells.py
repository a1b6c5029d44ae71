"""What the cache asks of a place where cells are kept."""

from collections.abc import Sequence
from typing import Protocol

from storage.cache import leases
from storage.cache.leases import Cell


class Cells(Protocol):
    """Cells by key. Never raises: what cannot be asked is busy, or not confirmed."""

    patient: bool
    """Whether asking here costs so much less than the database that a reader should rather wait
    for what another reader is about to fill.
    """

    def get(self, key: str) -> Cell:
        """The cell; BUSY if it cannot be told."""

    def lease(self, key: str, token: bytes) -> bytes | None:
        """The token of the reader's lease, made from `token`; None if it has none."""

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        """Put a value where the reader has a lease, or give it back; whether it had it still."""

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bytes | None:
        """A writer is about to commit `key`, and what `marked` follow from.

        Its token, made from `token`; None if it is not confirmed that all know of it.
        """

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        """A writer has committed `key`, and what `marked` follow from."""

    def mark(self, keys: Sequence[str]) -> None:
        """A writer is about to commit, or has committed, what the keys follow from."""

    def confirmed_mark(self, keys: Sequence[str]) -> bool:
        """As `mark`; whether it is certain that no value is under any of the keys."""

    def erase_user(self, user_id: str) -> int:
        """Remove all that is of a user, be it under an interaction's key; how much.

        Raises CacheNotErased, unless it is certain that nothing is left.
        """

    def drop(self, key: str) -> None:
        """Remove a value that is not fit to be there."""


class NoCells:
    """Without a cache every key is busy."""

    patient = False

    def get(self, key: str) -> Cell:
        return leases.BUSY

    def lease(self, key: str, token: bytes) -> bytes | None:
        return None

    def fill(self, key: str, token: bytes, value: bytes | None, seconds: float) -> bool:
        return False

    def begin(self, key: str, token: bytes, marked: Sequence[str]) -> bytes | None:
        return None

    def end(
        self, key: str, token: bytes, value: bytes | None, seconds: float, marked: Sequence[str]
    ) -> None:
        pass

    def mark(self, keys: Sequence[str]) -> None:
        pass

    def confirmed_mark(self, keys: Sequence[str]) -> bool:
        return True

    def erase_user(self, user_id: str) -> int:
        return 0

    def drop(self, key: str) -> None:
        pass
