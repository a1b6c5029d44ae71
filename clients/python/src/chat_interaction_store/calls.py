"""The calls of the API: what is sent, and what an answer means. Nothing here sends anything."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import httpx

from chat_interaction_store.errors import NotFound, StoreError, refusal
from chat_interaction_store.interactions import Interaction, NewInteraction, Saved, encode

T = TypeVar("T")

BATCH_ITEMS = 1000
BATCH_BYTES = 7 * 1024 * 1024
"""The store takes 8 MB in a body."""

INTERACTIONS = "/api/v1/interactions/"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, repr=False)
class Call(Generic[T]):
    """One call. `result` gives what its answer means, or raises StoreError."""

    method: str
    path: str
    result: Callable[[httpx.Response], T]
    body: bytes | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Page:
    """One page of a list. `cursor` is None on the last."""

    interactions: list[Interaction]
    cursor: str | None


def save(fields: Mapping[str, Any], idempotency_key: str | None) -> Call[Interaction]:
    """Save one. All attempts have the same key, so that they make one interaction."""
    headers = _JSON | {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    return Call("POST", INTERACTIONS, _interaction, _given(fields), headers=headers)


def batch(items: Iterable[bytes]) -> Call[list[Saved]]:
    """Save many that are encoded already."""
    body = b'{"interactions":[' + b",".join(items) + b"]}"
    return Call("POST", f"{INTERACTIONS}batch/", _outcomes, body, headers=_JSON)


def batches(interactions: Iterable[NewInteraction]) -> Iterator[list[bytes]]:
    """Yields encoded interactions, as many as one call takes."""
    items: list[bytes] = []
    size = 0
    for interaction in interactions:
        item = interaction.to_json()
        if items and (len(items) == BATCH_ITEMS or size + len(item) > BATCH_BYTES):
            yield items
            items, size = [], 0
        items.append(item)
        size += len(item) + 1
    if items:
        yield items


def complete(interaction_id: str, changes: Mapping[str, Any]) -> Call[Interaction]:
    """Set the fields that are not None."""
    path = _address(interaction_id)
    return Call("PATCH", path, _interaction, _given(changes), headers=_JSON)


def get(interaction_id: str) -> Call[Interaction | None]:
    """Read one by its id."""
    return Call("GET", _address(interaction_id), _interaction_or_none)


def delete(interaction_id: str) -> Call[bool]:
    """Delete one by its id."""
    return Call("DELETE", _address(interaction_id), _whether_deleted)


def lookup(question: Mapping[str, Any]) -> Call[Interaction | None]:
    """The newest answer to a question whose fields are not None."""
    path = f"{INTERACTIONS}lookup/"
    return Call("POST", path, _interaction_or_none, _given(question), headers=_JSON)


def page(
    user_id: str | None,
    created_after: datetime | None,
    created_before: datetime | None,
    archived: bool,
    page_size: int,
) -> Call[Page]:
    """The first page of a list."""
    parameters = {"limit": str(page_size)}
    for name, time in (("created_after", created_after), ("created_before", created_before)):
        if time is not None:
            parameters[name] = _formatted(name, time)
    if archived:
        parameters["tier"] = "archive"
    path = INTERACTIONS if user_id is None else f"/api/v1/users/{quote(user_id, '')}/interactions/"
    return Call("GET", path, _page, parameters=parameters)


def search(text: str | None, filters: Mapping[str, Any], page_size: int) -> Call[Page]:
    """The first page of a search. Filters that are None are left out."""
    given = {"q": text, **filters, "limit": page_size}
    parameters = {name: _word(name, value) for name, value in given.items() if value is not None}
    return Call("GET", f"{INTERACTIONS}search/", _page, parameters=parameters)


def next_page(call: Call[Page], cursor: str) -> Call[Page]:
    """The page after one of `call`. Only the cursor of `next` is used: its host is the one that
    the store sees itself as, which need not be the client's.
    """
    return Call("GET", call.path, _page, parameters={**call.parameters, "cursor": cursor})


def _given(fields: Mapping[str, Any]) -> bytes:
    return encode({name: value for name, value in fields.items() if value is not None})


def _address(interaction_id: str) -> str:
    return f"{INTERACTIONS}{quote(interaction_id, '')}/"


def _word(name: str, value: Any) -> str:
    if isinstance(value, datetime):
        return _formatted(name, value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _formatted(name: str, time: datetime) -> str:
    if time.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, such as datetime.timezone.utc.")
    return time.isoformat()


def _decoded(response: httpx.Response) -> Any:
    if not response.is_success:
        raise refusal(response)
    try:
        return json.loads(response.content)
    except ValueError:
        raise StoreError(
            f"{response.status_code} without JSON: is this the URL of a chat interaction store?"
        ) from None


def _interaction(response: httpx.Response) -> Interaction:
    return Interaction.from_json(_decoded(response))


def _interaction_or_none(response: httpx.Response) -> Interaction | None:
    try:
        return _interaction(response)
    except NotFound:
        return None


def _whether_deleted(response: httpx.Response) -> bool:
    if response.is_success:
        return True
    error = refusal(response)
    if isinstance(error, NotFound):
        return False
    raise error


def _outcomes(response: httpx.Response) -> list[Saved]:
    results = _decoded(response)["results"]
    return [Saved(result["interaction_id"], result["status"]) for result in results]


def _page(response: httpx.Response) -> Page:
    body = _decoded(response)
    following = body["next"]
    cursor = parse_qs(urlsplit(following).query)["cursor"][0] if following else None
    return Page([Interaction.from_json(record) for record in body["results"]], cursor)
