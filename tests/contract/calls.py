"""What the contract's tests share: both sides of the interface, and how to compare records."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.interface import Storage
from storage.models import ChatInteraction
from storage.models.interaction import FIELDS
from storage.records.pages import Page, PageQuery

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class SynchronousCalls:
    """`calls.get_interaction(...)` is `storage.get_interaction_sync(...)`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, f"{name}_sync")


class CoroutineCalls:
    """`calls.get_interaction(...)` runs the coroutine `storage.get_interaction(...)`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._storage, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            async def run() -> Any:
                return await operation(*args, **kwargs)

            return asyncio.run(run())

        return call


def short(value: Any) -> str:
    """The name of a parametrized case."""
    return ascii(value)[:24]


def gather(*coroutines: Any) -> Any:
    """The results of coroutines that run at the same time; exceptions are results too."""

    async def run() -> Any:
        return await asyncio.gather(*coroutines, return_exceptions=True)

    return asyncio.run(run())


def at(**delta: Any) -> datetime:
    """A time so much after NOON."""
    return NOON + timedelta(**delta)


def fields(interaction: ChatInteraction | None) -> Any:
    """All fields by name: `==` between interactions compares nothing but their ids."""
    return interaction and {name: getattr(interaction, name) for name in FIELDS}


def ids(interactions: Any) -> list[str]:
    return [interaction.interaction_id for interaction in interactions]


def newest_first(interactions: Any) -> list[ChatInteraction]:
    """The order that every list owes: by time, equal times by id, both descending."""
    return sorted(interactions, key=lambda i: (i.created_at, i.interaction_id), reverse=True)


def user_pages(calls: Any, user_id: str | None, **query: Any) -> list[Page]:
    """All pages of a user, from the first to the one without a cursor."""
    return _pages(lambda q: calls.list_user_interactions(user_id, q), query)


def everyones_pages(calls: Any, **query: Any) -> list[Page]:
    """All pages of everyone, from the first to the one without a cursor."""
    return _pages(calls.list_interactions, query)


def _pages(read: Callable[[PageQuery], Page], query: dict[str, Any]) -> list[Page]:
    pages = [read(PageQuery(**query))]
    while (cursor := pages[-1].next_cursor) is not None:
        assert len(pages) < 10_000, "the pages never end"
        pages.append(read(PageQuery(**(query | {"cursor": cursor}))))
    return pages


def rows_of(pages: Any) -> list[ChatInteraction]:
    return [interaction for page in pages for interaction in page.interactions]
