"""What a backend supplies to the Storage interface, and where its coroutines run."""

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.records.cursors import Position
from storage.records.json import Record, Stored
from storage.records.outcomes import Outcome
from storage.records.pages import Slice
from storage.records.questions import Question
from storage.records.stubs import Stub

P = ParamSpec("P")
R = TypeVar("R")


class Hooks(ABC):
    """The private side of a storage. Arguments are checked already."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="storage")

    @abstractmethod
    def _save(self, interaction: ChatInteraction) -> None: ...

    @abstractmethod
    def _get(self, interaction_id: str) -> Stored | None:
        """The interaction with this id, unless it has expired."""

    @abstractmethod
    def _answer(self, question: Question) -> Stored | None:
        """The newest answer, of whatever age, unless it has expired."""

    @abstractmethod
    def _create(
        self, interaction: ChatInteraction, idempotency: Idempotency | None
    ) -> tuple[ChatInteraction | None, bool]:
        """None for what an idempotency key has made and is gone. Raises TakenByStub."""

    @abstractmethod
    def _create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome | Stub]:
        """A stub where the id is an archived interaction's."""

    @abstractmethod
    def _update(
        self, interaction_id: str, changes: Mapping[str, Any], user_id: str | None
    ) -> ChatInteraction | None: ...

    @abstractmethod
    def _delete(self, interaction_id: str, user_id: str | None) -> bool: ...

    @abstractmethod
    def _newest(self, wanted: Slice) -> tuple[list[Record], bool]:
        """The records, and whether there are more behind them."""

    # Hot and cold.

    @abstractmethod
    def _look(self, interaction_id: str) -> ChatInteraction | Stub | None:
        """What is under this id at one moment. The interaction has not expired; a stub may."""

    @abstractmethod
    def _stubs(self, interaction_ids: Sequence[str]) -> dict[str, Stub]: ...

    @abstractmethod
    def _adopt(
        self, interaction: ChatInteraction, segment: str, instead_of: str | None
    ) -> bool: ...

    @abstractmethod
    def _drop_other_stubs(self, segments: Set[str]) -> int: ...

    @abstractmethod
    def _oldest(
        self, until: datetime, limit: int, after: Position | None
    ) -> list[ChatInteraction]: ...

    @abstractmethod
    def _count_oldest(self, until: datetime, at_most: int) -> int: ...

    @abstractmethod
    def _move_to_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int: ...

    @abstractmethod
    def _return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int: ...

    @abstractmethod
    def _drop_stubs(self, interaction_ids: Sequence[str], segment: str) -> int: ...

    @abstractmethod
    def _remove_expired_stubs(self, until: datetime, limit: int) -> int: ...

    @abstractmethod
    def _remove_expired(self, interactions: Sequence[ChatInteraction], until: datetime) -> int:
        """Delete hot rows if they were created at or before `until`."""

    @abstractmethod
    def _remove_of_user(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        """Delete hot rows if they are this user's."""

    @abstractmethod
    def _moving(self, interaction_ids: Sequence[str]) -> AbstractContextManager[None]:
        """Around a change of tiers: what is cached says which one it is in."""

    @abstractmethod
    def _erasing(self, interactions: Sequence[ChatInteraction]) -> AbstractContextManager[None]:
        """Around the deletion of rows of which the cache must have nothing after it."""

    @abstractmethod
    def _forget_user(self, user_id: str) -> dict[str, int]: ...

    @abstractmethod
    def _scrub(self) -> None: ...

    @abstractmethod
    def _scrub_seconds(self) -> float: ...

    @abstractmethod
    def _describe(self) -> dict[str, str | int]: ...

    @abstractmethod
    def _reclaim(self) -> int: ...

    @abstractmethod
    def _take_lock(self, name: str, owner: str, seconds: float) -> bool: ...

    @abstractmethod
    def _release_lock(self, name: str, owner: str) -> None: ...

    @abstractmethod
    def _release(self) -> None:
        """Give back what a call on the executor holds, such as a database connection."""

    async def _run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def call() -> R:
            try:
                return function(*args, **kwargs)
            finally:
                # Here, in the thread, and not in the coroutine: a cancelled coroutine
                # leaves the thread running, and with it the connection in use.
                self._release()

        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, context.run, call)
