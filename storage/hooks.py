"""What a backend supplies to the Storage interface, and where its coroutines run."""

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.outcomes import Outcome
from storage.pages import Slice
from storage.questions import Question
from storage.records import Record, Stored

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
        """None for what an idempotency key has made and is gone."""

    @abstractmethod
    def _create_many(self, interactions: Sequence[ChatInteraction]) -> list[Outcome]: ...

    @abstractmethod
    def _update(
        self, interaction_id: str, changes: Mapping[str, Any], user_id: str | None
    ) -> ChatInteraction | None: ...

    @abstractmethod
    def _delete(self, interaction_id: str, user_id: str | None) -> bool: ...

    @abstractmethod
    def _newest(self, wanted: Slice) -> tuple[list[Record], bool]:
        """The records, and whether there are more behind them."""

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
