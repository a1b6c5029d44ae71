"""The interface of a cache: it is read through, and every write is announced to it.

Each write runs inside one of the context managers below. It is entered before the first request to
the database and left after the last. So no cached value survives a commit that made it out of date.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Self

from storage.models import ChatInteraction
from storage.records.audit import Audit
from storage.records.json import Stored
from storage.records.questions import Question

if TYPE_CHECKING:
    from types import TracebackType

Read = Callable[[str], ChatInteraction | None]
"""Returns the interaction that the database has under an id now, all commits included."""

ReadStored = Callable[[str], Stored | None]
"""As `Read`, for a database that can write the JSON itself."""

Find = Callable[[Question, Read], ChatInteraction | None]
"""Returns the newest answer to a question, or None. `Database.find_answer` is one."""


class Writing:
    """A context manager around a write to one interaction. This one does nothing."""

    committed: ChatInteraction | None = None
    """Set it to what was committed. Only then may it be cached."""

    def will_commit(self, interaction: ChatInteraction) -> None:
        """Call it before the commit if the new content was not known when the block began."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        pass


class Cache(ABC):
    """Caches interactions by id and as answers, and strings of the application. Thread-safe.

    A cache that does not respond makes no read fail: every read is a miss then. Nor a write, unless
    the database cannot take note of what the cache missed. Then leaving the context manager of the
    write raises StorageUnavailable, as if its outcome were unknown.
    """

    def get(self, interaction_id: str, read: Read) -> Stored | None:
        """Returns the cached interaction, or calls `read` and caches what it returns."""

        def read_stored(interaction_id: str) -> Stored | None:
            interaction = read(interaction_id)
            return None if interaction is None else Stored.of(interaction)

        return self.get_stored(interaction_id, read_stored)

    @abstractmethod
    def get_stored(self, interaction_id: str, read: ReadStored) -> Stored | None:
        """As `get`."""

    @abstractmethod
    def answer(self, question: Question, find: Find, read: Read) -> Stored | None:
        """Returns the cached newest answer, or calls `find` and caches what it returns."""

    @abstractmethod
    def writing(self, interaction_id: str, interaction: ChatInteraction | None = None) -> Writing:
        """Wraps a write to one id. `interaction` is what will be saved, if known beforehand."""

    def creating(self, interactions: Sequence[ChatInteraction]) -> AbstractContextManager[None]:
        """Wraps the creation of a batch of new interactions."""
        return nullcontext()

    def moving(self, interaction_ids: Sequence[str]) -> AbstractContextManager[None]:
        """Wraps a tier transition, since only hot interactions are cached."""
        return nullcontext()

    def erasing(self, interactions: Sequence[ChatInteraction]) -> AbstractContextManager[None]:
        """Wraps a deletion after which the cache must hold none of these interactions.

        Raises CacheNotErased on entry: then delete nothing. Or on exit: then repeat the deletion
        with the same interactions, or call `erase_user`.
        """
        return nullcontext()

    @abstractmethod
    def erase_user(self, user_id: str, check_time: Callable[[], None] = lambda: None) -> int | None:
        """Remove all entries of a user, including strings. Returns their number, None if unknown.

        Delete the user's rows first: a read that is under way may cache a row that still exists.
        Raises CacheNotErased, and what `check_time` raises, which a long search calls.
        """

    def state(self) -> str:
        """`memory` (of this process), `redis`, `away` (Redis does not answer) or `none`."""
        return "none"

    @abstractmethod
    def get_string(self, key: str) -> str | None:
        """Returns the application's string under `key`, or None."""

    @abstractmethod
    def set_string(self, key: str, value: str, ttl: int) -> None:
        """Keep the application's `value` under `key` for `ttl` seconds (more than 0)."""

    @abstractmethod
    def audit(self, read: Read, find: Find, sample: int | None) -> Audit:
        """Compare about `sample` entries, or all if None, with what the database has.

        Raises NoSharedCache if this process cannot reach the cache of the servers, and
        StorageUnavailable if the cache or the database does not answer.
        """
