"""Searches through interactions: the query parameters, and the call."""

from typing import Any

from chat.api import parameters
from chat.api.exchange import Answer, Call
from chat.api.mistakes import Mistakes
from chat.maintenance.identity import require_archive
from chat.times import parse_time
from storage import get_storage
from storage.limits import TOKENS_MAX
from storage.records.json import dumps, format_time
from storage.records.searches import TIERS, Search, SearchPage


def search_interactions(call: Call, interaction_id: str) -> Answer:
    """A page of a search. `interaction_id` is part of the address only."""
    mistakes = Mistakes()
    values, given = parameters.values_of(call, _PARSERS, mistakes)
    parameters.refuse(mistakes)
    text = values.pop("q", "")
    search = Search(**values | {"text": text, "user_id": _user(call, values)})
    storage = get_storage()
    if search.tier != "hot":
        require_archive(storage)  # without it, the answer would look complete
    page = storage.search_interactions_sync(search)
    return Answer(dumps(_body(page, parameters.next_url(call, given, page.next_cursor))))


def _user(call: Call, values: dict[str, Any]) -> str | None:
    """Whose interactions are searched: with a key that is bound to a user, that user's only."""
    user_id: str | None = values.get("user_id", call.caller.user_id)
    if user_id is not None:
        call.caller.require(user_id)
    return user_id


def _body(page: SearchPage, following: str | None) -> dict[str, Any]:
    until = page.searched_until
    return {
        "results": page.records,
        "next": following,
        "searched_until": None if until is None else format_time(until),
    }


def _given(text: str) -> str:
    if not text:
        raise ValueError("must not be empty; leave it out if anything will do.")
    return text


def _answered(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false.")
    return text == "true"


def _tokens(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= TOKENS_MAX:
        return int(text)
    raise ValueError(f"must be a whole number from 0 to {TOKENS_MAX}.")


def _tier(text: str) -> str:
    if text not in TIERS:
        raise ValueError(f"must be one of: {', '.join(TIERS)}.")
    return text


_PARSERS: parameters.Parsers = {
    "q": _given,
    "user_id": _given,
    "model_used": _given,
    "created_after": parse_time,
    "created_before": parse_time,
    "tier": _tier,
    "answered": _answered,
    "tokens_min": _tokens,
    "tokens_max": _tokens,
    "limit": parameters.given_limit,
    "cursor": parameters.given_cursor,
}
