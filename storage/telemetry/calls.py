"""Measures calls to a backend: how long each takes, and how it ends.

A subclass of `storage.database.Database` gets this by itself, for the operations below. Those that
the cache answers come to no backend, and are counted by the cache.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any, Protocol

from storage.exceptions import StorageError, StorageFull, StorageUnavailable
from storage.records.stubs import TakenByStub
from storage.telemetry.histograms import MOST_WAITING, Histogram

OPERATIONS = (
    *("read", "read_stored", "save", "create", "create_many", "update", "delete"),
    *("newest", "newest_interactions", "newest_json", "search", "find_text", "find_answer"),
    *(
        "next_of_user",
        "look",
        "look_at",
        "oldest",
        "remove_expired",
        "remove_of_user",
        "forget_user",
    ),
    *("move_to_cold", "return_from_cold", "check_available"),
)
"""Methods of a backend that are measured, if it has them."""

CALLS = Histogram(
    "chat_storage_call_duration_seconds",
    "Calls to the database of the interactions, by operation, backend and outcome: ok, refused "
    "(the call broke a rule), unavailable, full, error (a defect). A hit of the cache is none.",
    ["operation", "backend", "outcome"],
    (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 10),
)


class Tracer(Protocol):
    """Makes a span around a call. It is told no argument: those have ids and texts."""

    def __call__(self, backend: str, operation: str) -> AbstractContextManager[Any]: ...


_tracer: Tracer | None = None


def trace_with(tracer: Tracer | None) -> None:
    """From now on make a span of each call; with None, of none."""
    global _tracer
    _tracer = tracer


def measure(backend: type[Any]) -> None:
    """Measure the operations that this class defines."""
    for operation in OPERATIONS:
        function = vars(backend).get(operation)
        if function is not None:
            setattr(backend, operation, _measured(function, operation, backend.backend))


def _measured(function: Callable[..., Any], operation: str, backend: str) -> Callable[..., Any]:
    observe, waiting = CALLS.observe, CALLS.waiting
    append = waiting.append
    ok = (operation, backend, "ok")

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _tracer is not None:
            return traced(*args, **kwargs)
        started = perf_counter()
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            observe((operation, backend, outcome_of(error)), perf_counter() - started)
            raise
        append((ok, perf_counter() - started))  # `observe`, which takes as long again
        if len(waiting) > MOST_WAITING:
            CALLS.add_up()
        return result

    def traced(*args: Any, **kwargs: Any) -> Any:
        assert _tracer is not None
        started = perf_counter()
        outcome = "ok"
        try:
            with _tracer(backend, operation):
                return function(*args, **kwargs)
        except Exception as error:
            outcome = outcome_of(error)
            raise
        finally:
            observe((operation, backend, outcome), perf_counter() - started)

    return call


def outcome_of(error: Exception) -> str:
    """How a call has ended that raised this."""
    match error:
        case StorageUnavailable():
            return "unavailable"
        case StorageFull():
            return "full"
        case StorageError() | TakenByStub():
            return "refused"
    return "error"
