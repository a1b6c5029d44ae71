"""`Store`: the calls, one after another."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any, Literal, TypeVar

import httpx

from chat_interaction_store import calls
from chat_interaction_store.background import BackgroundStore
from chat_interaction_store.connection import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Connection
from chat_interaction_store.errors import StoreUnavailable
from chat_interaction_store.interactions import Interaction, NewInteraction, Saved
from chat_interaction_store.retries import Attempts, answered, no_answer, too_long
from chat_interaction_store.usage import UsageReport

T = TypeVar("T")


class Store:
    """A chat interaction store. Threads and forked processes can share one; with a `transport` or
    `mounts` of yours, which have connections, make one in each process.

    `timeout` is in seconds, for each step of an attempt. An attempt without an answer, or with 429
    or a status from 500 on, is repeated up to `retries` times, at growing intervals and not before
    `Retry-After`. Further options are those of `httpx.Client`, such as `verify` and `proxy`.

    Its methods raise StoreUnavailable if there is no answer after all, and Refused for what the
    store refuses.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        **http: Any,
    ) -> None:
        self._connection = Connection(url, key, timeout, retries, http)
        self._clients: dict[int, httpx.Client] = {}
        self._background = BackgroundStore(self)

    def __repr__(self) -> str:
        return f"Store(url={self._connection.url!r})"

    def save(
        self,
        *,
        user_id: str,
        message: str,
        model_used: str,
        response: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
        interaction_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Interaction:
        """Save an interaction. Returns it as stored.

        Calling again with the same `interaction_id` and content, or within 24 hours with the same
        `idempotency_key`, changes nothing. Raises Conflict if there is another with this id.
        """
        fields = {
            "interaction_id": interaction_id,
            "user_id": user_id,
            "message": message,
            "model_used": model_used,
            "response": response,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
        }
        return self.send(calls.save(fields, idempotency_key))

    def save_many(self, interactions: Iterable[NewInteraction]) -> list[Saved]:
        """Save any number, 1,000 in one call. Returns what has become of each, in their order.

        What is there already is left as it is, so repeating is safe. If one of a call's is invalid,
        InvalidRequest is raised; what earlier calls saved stays.
        """
        return [
            saved
            for items in calls.batches(interactions)
            for saved in self.send(calls.batch(items))
        ]

    def complete(
        self,
        interaction_id: str,
        *,
        response: str | None = None,
        model_used: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> Interaction:
        """Set what arrived after the interaction was saved. Returns it as stored.

        Raises NotFound for an unknown one, and Conflict for an archived one.
        """
        changes = {
            "response": response,
            "model_used": model_used,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
        }
        return self.send(calls.complete(interaction_id, changes))

    def get(self, interaction_id: str) -> Interaction | None:
        """Returns one, or None if there is none, or if it belongs to another user."""
        return self.send(calls.get(interaction_id))

    def delete(self, interaction_id: str) -> bool:
        """Delete one. Returns False if there is none, or none any more."""
        return self.send(calls.delete(interaction_id))

    def lookup(
        self,
        *,
        user_id: str,
        message: str,
        model_used: str | None = None,
        max_age: int | None = None,
    ) -> Interaction | None:
        """Returns the newest with this user and exactly this message that has a response, or None.

        `max_age` is in seconds, since it was created.
        """
        question = {
            "user_id": user_id,
            "message": message,
            "model_used": model_used,
            "max_age": max_age,
        }
        return self.send(calls.lookup(question))

    def list(
        self,
        user_id: str | None = None,
        *,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        archived: bool = False,
        page_size: int = 100,
    ) -> Iterator[Interaction]:
        """Yields those of one user, or of all users, newest first, reading page by page.

        `archived` lists the archive, within a period of at most 31 days. A page has up to 200.
        """
        call = calls.page(user_id, created_after, created_before, archived, page_size)
        yield from self._pages(call)

    def search(
        self,
        text: str | None = None,
        *,
        user_id: str | None = None,
        model_used: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        tier: Literal["all", "hot", "archive"] | None = None,
        answered: bool | None = None,
        tokens_min: int | None = None,
        tokens_max: int | None = None,
        page_size: int = 100,
    ) -> Iterator[Interaction]:
        """Yields those that have all that is given, newest first, archived ones among them.

        Each word of `text` must begin a word of the message or the response; case and accents do
        not count. InvalidRequest says so where text needs a `user_id` or a period beside it.
        """
        filters = {
            "user_id": user_id,
            "model_used": model_used,
            "created_after": created_after,
            "created_before": created_before,
            "tier": tier,
            "answered": answered,
            "tokens_min": tokens_min,
            "tokens_max": tokens_max,
        }
        yield from self._pages(calls.search(text, filters, page_size))

    def usage(
        self,
        *,
        start_date: date | None = None,
        end_date: date | None = None,
        group_by: Iterable[str] = ("day", "model"),
        model_used: str | None = None,
        user_id: str | None = None,
    ) -> UsageReport:
        """Returns what was used on these days, both inclusive: by default the last 30, UTC.

        `group_by` has one or more of `day`, `model` and `user`. Grouped by users, it reads page by
        page. A key that is bound to a user returns the usage of this user.
        """
        call: calls.Call[calls.UsagePage] | None
        call = calls.usage(start_date, end_date, group_by, model_used, user_id)
        pages = []
        while call is not None:
            pages.append(self.send(call))
            call = calls.following(call, pages[-1])
        return calls.joined(pages)

    def background(self) -> BackgroundStore:
        """Returns this store's queue, which saves without blocking its callers."""
        return self._background

    def send(self, call: calls.Call[T], *, retries: int | None = None) -> T:
        """Send a call, up to `retries` times again. Raises StoreError."""
        attempts = Attempts(self._connection.retries if retries is None else retries)
        while True:
            try:
                response = self._client().request(
                    call.method,
                    call.path,
                    content=call.body,
                    params=call.parameters,
                    headers=call.headers,
                )
                return answered(call, response)
            except httpx.RequestError as error:
                problem = no_answer(error)
            except httpx.InvalidURL:
                raise too_long() from None
            except StoreUnavailable as error:
                problem = error
            time.sleep(attempts.next_delay(problem))

    def _pages(self, call: calls.Call[calls.Page]) -> Iterator[Interaction]:
        cursor: str | None = ""
        while cursor is not None:
            found = self.send(calls.next_page(call, cursor) if cursor else call)
            yield from found.interactions
            cursor = found.cursor

    def _client(self) -> httpx.Client:
        """The HTTP client of this process: a forked one must not use its parent's connections."""
        process = os.getpid()
        if (client := self._clients.get(process)) is None:
            client = self._clients.setdefault(process, httpx.Client(**self._connection.options))
        return client

    def close(self, timeout: float = 5.0) -> None:
        """Save what is in its queue, for up to `timeout` seconds, and close its connections."""
        self._background.close(timeout)
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
