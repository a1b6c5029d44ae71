"""The coroutine side of the Storage interface: its synchronous methods, on an executor."""

import asyncio
import contextvars
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Runner:
    """Runs calls in up to `threads` threads; `release` returns what a call holds after it."""

    def __init__(self, threads: int, release: Callable[[], None]) -> None:
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="storage")
        self.threads = threads
        self._release = release
        self._under_way: list[None] = []
        """One for each call: appending to a list needs no lock."""

    @property
    def under_way(self) -> int:
        """How many calls run, or wait for a thread."""
        return len(self._under_way)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of a call. A cancelled coroutine does not end its call."""

        def call() -> R:
            try:
                return function(*args, **kwargs)
            finally:
                # Here, in the thread, and not in the coroutine: a cancelled coroutine
                # leaves the thread running, and with it the connection in use.
                self._release()

        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        self._under_way.append(None)
        try:
            return await loop.run_in_executor(self.executor, context.run, call)
        finally:
            self._under_way.pop()


class HasRunner(Protocol):
    """What a method must belong to, to have a coroutine twin."""

    runner: Runner


S = TypeVar("S", bound=HasRunner)


def coroutine(
    twin: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """The coroutine of a synchronous method, with its signature and its docstring."""

    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        # By its name, so that a subclass may replace the twin.
        function: Callable[P, R] = getattr(self, twin.__name__)
        return await self.runner.run(function, *args, **kwargs)

    functools.update_wrapper(call, twin)
    call.__name__ = twin.__name__.removesuffix("_sync")
    call.__qualname__ = twin.__qualname__.removesuffix("_sync")
    return call
