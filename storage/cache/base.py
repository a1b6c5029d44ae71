"""What a storage asks of its cache: read-through, and an announcement around every write.

Each write goes through one of the context managers below: they are entered before the first and
left after the last request to the database. So no value outlives a commit that it does not show.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Self

from storage.exceptions import NoSharedCache
from storage.models import ChatInteraction
from storage.records.audit import Audit
from storage.records.json import Stored
from storage.records.questions import Question

if TYPE_CHECKING:
    from types import TracebackType

Read = Callable[[str], ChatInteraction | None]
"""Returns what the database has under an id at that moment, all commits included."""

Find = Callable[[Question], ChatInteraction | None]
"""Returns the newest answer that the database finds."""


class Writing(ABC):
    """One write to one interaction, as a context manager around it."""

    committed: ChatInteraction | None = None
    """Set it to what the database has now. Otherwise nothing is cached."""

    def will_commit(self, interaction: ChatInteraction) -> None:
        """The database is about to commit this, which only a read of it could tell."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None: ...


class Cache(ABC):
    """Interactions by id and as answers, and strings of the application. Threads share one.

    A cache that is away never makes a read or a write fail: all is a miss then.
    """

    @abstractmethod
    def get(self, interaction_id: str, read: Read) -> Stored | None:
        """The cached interaction, or the one that `read` returns, which is then cached."""

    @abstractmethod
    def answer(self, question: Question, find: Find, read: Read) -> Stored | None:
        """The cached newest answer, or the one that `find` returns, which is then cached."""

    @abstractmethod
    def writing(self, interaction_id: str, interaction: ChatInteraction | None = None) -> Writing:
        """Around a write to one id. `interaction` is what will be saved, if that is known."""

    def creating(self, interactions: Sequence[ChatInteraction]) -> AbstractContextManager[None]:
        """Around a batch of new interactions."""
        return nullcontext()

    def moving(self, interaction_ids: Sequence[str]) -> AbstractContextManager[None]:
        """Around a tier transition: only hot interactions are cached."""
        return nullcontext()

    def erasing(self, interactions: Sequence[ChatInteraction]) -> AbstractContextManager[None]:
        """Around a deletion after which the cache must have nothing of these.

        Raises CacheNotErased before it, and nothing is to be deleted then; or after it, and then
        it is to be repeated with the same interactions, or `erase_user` to follow.
        """
        return nullcontext()

    @abstractmethod
    def erase_user(self, user_id: str) -> int | None:
        """Remove all of a user's entries, strings included; returns how many, if that is known.

        What is read at this moment may be back, unless the database has nothing of the user any
        more. Raises CacheNotErased.
        """

    @abstractmethod
    def get_string(self, key: str) -> str | None:
        """The application's string under `key`, or None."""

    @abstractmethod
    def set_string(self, key: str, value: str, ttl: int) -> None:
        """Keep the application's `value` under `key` for `ttl` seconds (more than 0)."""

    def audit(self, read: Read, find: Find, sample: int | None) -> Audit:
        """Compare about `sample` random entries, or all if None, with what the database has.

        Raises NoSharedCache if no other process could look, StorageUnavailable if it is away.
        """
        raise NoSharedCache(
            "Each server has its cache in its own memory, where no other process can look."
        )
