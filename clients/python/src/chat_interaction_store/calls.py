"""The calls of the API: what is sent, and what an answer means. Nothing here sends anything."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import httpx

from chat_interaction_store.errors import NotFound, not_the_store, refusal
from chat_interaction_store.interactions import (
    Interaction,
    NewInteraction,
    Saved,
    encode,
    parsed_time,
    sound,
)
from chat_interaction_store.usage import Usage, UsageReport

T = TypeVar("T")

BATCH_ITEMS = 1000
BATCH_BYTES = 7 * 1024 * 1024
"""The store takes 16 MB in a body, and took 8 MB before texts could have that many."""

INTERACTIONS = "/api/v1/interactions/"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, repr=False)
class Call(Generic[T]):
    """One call. `result` reads its answer: it raises StoreError, or whatever error comes of reading
    what is not the store's.
    """

    method: str
    path: str
    result: Callable[[httpx.Response], T]
    body: bytes | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def meaning(self, response: httpx.Response) -> T:
        """Returns what an answer means. Raises StoreError, also for one of another form."""
        try:
            return self.result(response)
        except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError):
            raise not_the_store(response) from None


@dataclass(frozen=True, repr=False)
class Page:
    """One page of a list. `cursor` is None on the last."""

    interactions: list[Interaction]
    cursor: str | None


@dataclass(frozen=True, repr=False)
class UsagePage:
    """One page of what was used. `cursor` is None on the last."""

    report: UsageReport
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
    """Read one by its id. Raises ValueError for the one that has no address."""
    if interaction_id == "search":
        raise ValueError(
            "An interaction with the id search cannot be read by it: its address is that of "
            "searches. What list and search return has it."
        )
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
    path = INTERACTIONS if user_id is None else f"/api/v1/users/{_segment(user_id)}/interactions/"
    return Call("GET", path, _page, parameters=parameters)


def search(text: str | None, filters: Mapping[str, Any], page_size: int) -> Call[Page]:
    """The first page of a search. Filters that are None are left out."""
    given = {"q": text, **filters, "limit": page_size}
    parameters = {name: _word(name, value) for name, value in given.items() if value is not None}
    return Call("GET", f"{INTERACTIONS}search/", _page, parameters=parameters)


def next_page(call: Call[T], cursor: str) -> Call[T]:
    """The page after one of `call`. Only the cursor of `next` is used: its host is the one that
    the store sees itself as, which need not be the client's.
    """
    return replace(call, parameters={**call.parameters, "cursor": cursor})


def usage(
    start_date: date | None,
    end_date: date | None,
    group_by: Iterable[str],
    model_used: str | None,
    user_id: str | None,
) -> Call[UsagePage]:
    """The first page of what was used."""
    given = {
        "start_date": None if start_date is None else start_date.isoformat(),
        "end_date": None if end_date is None else end_date.isoformat(),
        "group_by": ",".join(group_by),
        "model_used": model_used,
        "user_id": user_id,
    }
    parameters = {name: sound(value) for name, value in given.items() if value is not None}
    return Call("GET", "/api/v1/usage/", _usage, parameters=parameters)


def joined(pages: list[UsagePage]) -> UsageReport:
    """One report of all its pages."""
    first = pages[0].report
    models = {name for page in pages for name in page.report.unpriced_models}
    return replace(
        first,
        results=[line for page in pages for line in page.report.results],
        unpriced_models=sorted(models),
    )


def following(call: Call[UsagePage], page: UsagePage) -> Call[UsagePage] | None:
    """The call for the page after this one, about the same days; None after the last."""
    if page.cursor is None:
        return None
    days = {"start_date": page.report.start_date, "end_date": page.report.end_date}
    dated = {name: day.isoformat() for name, day in days.items()}
    return next_page(replace(call, parameters={**call.parameters, **dated}), page.cursor)


def _given(fields: Mapping[str, Any]) -> bytes:
    return encode({name: value for name, value in fields.items() if value is not None})


def _address(interaction_id: str) -> str:
    return f"{INTERACTIONS}{_segment(interaction_id)}/"


def _segment(identifier: str) -> str:
    """An id in an address. `.` and `..`, which no id can be, would make it another address."""
    if identifier in (".", ".."):
        raise ValueError("An id must not be a dot, or two.")
    return quote(sound(identifier), "")


def _word(name: str, value: Any) -> str:
    if isinstance(value, datetime):
        return _formatted(name, value)
    return str(value).lower() if isinstance(value, bool) else sound(str(value))


def _formatted(name: str, time: datetime) -> str:
    if time.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, such as datetime.timezone.utc.")
    return time.isoformat()


def _decoded(response: httpx.Response) -> Any:
    if not response.is_success:
        raise refusal(response)
    return json.loads(response.content)


def _interaction(response: httpx.Response) -> Interaction:
    return Interaction.from_json(_decoded(response))


def _interaction_or_none(response: httpx.Response) -> Interaction | None:
    try:
        return _interaction(response)
    except NotFound:
        return None


def _whether_deleted(response: httpx.Response) -> bool:
    if response.status_code == 204:
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
    return Page([Interaction.from_json(record) for record in body["results"]], _cursor(body))


def _usage(response: httpx.Response) -> UsagePage:
    body = _decoded(response)
    until = body["complete_until"]
    report = UsageReport(
        results=[Usage.from_json(record) for record in body["results"]],
        start_date=date.fromisoformat(body["start_date"]),
        end_date=date.fromisoformat(body["end_date"]),
        currency=body["currency"],
        unpriced_models=body["unpriced_models"],
        complete_until=None if until is None else parsed_time(until),
    )
    return UsagePage(report, _cursor(body))


def _cursor(body: Mapping[str, Any]) -> str | None:
    following = body["next"]
    return parse_qs(urlsplit(following).query)["cursor"][0] if following else None
