"""Query parameters of lists. An unknown parameter is an error, so that no typo is ignored."""

import functools
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.encoding import escape_uri_path

from chat.api.exchange import Call
from chat.api.mistakes import Mistakes
from chat.api.problems import InvalidRequest
from chat.times import parse_time
from storage.records.pages import PageQuery

LIMIT_DEFAULT = 50
LIMIT_MAX = 200

ARCHIVE_RANGE = timedelta(days=31)
"""The longest period of an archived list, because a page may have to read through all of it."""


Given = Mapping[str, Any]
"""Query parameters as a client has sent them."""

Parsers = Mapping[str, Callable[[str], Any]]
"""What reads each parameter: it raises ValueError, saying what would be right."""


def page_query(call: Call) -> tuple[PageQuery, Given]:
    """The page that a call asks for, and in what words.

    Raises InvalidRequest naming all bad parameters, and TooManyFieldsSent.
    """
    query_string = call.environ.get("QUERY_STRING", "")
    # A cursor is used once, so only queries without one are worth remembering.
    parse = _page_query if "cursor" in query_string else _remembered_page_query
    return parse(query_string)


def _page_query(query_string: str) -> tuple[PageQuery, Given]:
    parameters = _parsed(query_string)
    mistakes = Mistakes()
    values = {"limit": LIMIT_DEFAULT} | _values(parameters, _PARSERS, mistakes)
    if not mistakes.count and values.get("tier") == "archive":
        _check_range(values, mistakes)
    refuse(mistakes)
    return PageQuery(**values), parameters.dict()


_remembered_page_query = functools.lru_cache(maxsize=256)(_page_query)


def values_of(call: Call, parsers: Parsers, mistakes: Mistakes) -> tuple[dict[str, Any], Given]:
    """The query parameters of a call, each read by its parser, and in what words they came.

    What is wrong is added to `mistakes`; give them to `refuse` then. Raises TooManyFieldsSent.
    """
    parameters = _parsed(call.environ.get("QUERY_STRING", ""))
    return _values(parameters, parsers, mistakes), parameters.dict()


def _values(parameters: QueryDict, parsers: Parsers, mistakes: Mistakes) -> dict[str, Any]:
    values = {}
    for name, given in parameters.lists():
        try:
            values[name] = _value(name, given, parsers)
        except ValueError as error:
            mistakes.add_parameter(name, str(error))
    return values


def _parsed(query_string: str) -> QueryDict:
    return QueryDict(query_string.encode("iso-8859-1"))


def _check_range(values: dict[str, Any], mistakes: Mistakes) -> None:
    """Add what is wrong with the period of an archived list."""
    missing = [name for name in ("created_after", "created_before") if name not in values]
    for name in missing:
        mistakes.add_parameter(name, "is needed with tier=archive, which lists a range of days.")
    if not missing and values["created_before"] - values["created_after"] > ARCHIVE_RANGE:
        detail = f"must be at most {ARCHIVE_RANGE.days} days after created_after in the archive."
        mistakes.add_parameter("created_before", detail)


def refuse_parameters(call: Call) -> None:
    """Raise InvalidRequest if there are any; for calls that take no query parameters."""
    if query_string := call.environ.get("QUERY_STRING"):
        mistakes = Mistakes()
        for name in _parsed(query_string):
            mistakes.add_parameter(name, "unknown parameter; this call takes none.")
        refuse(mistakes)


def refuse(mistakes: Mistakes) -> None:
    """Raise InvalidRequest if there are mistakes."""
    if mistakes.count:
        raise InvalidRequest("A query parameter is invalid; see errors.", mistakes)


def next_url(call: Call, given: Given, cursor: str | None) -> str | None:
    """The URL of the next page; None for the last page."""
    if cursor is None:
        return None
    others = urlencode({name: value for name, value in given.items() if name != "cursor"})
    # A cursor has no character that would have to be quoted, and is as long as all the rest.
    query = f"{others}&cursor={cursor}" if others else f"cursor={cursor}"
    # build_absolute_uri would resolve an id that looks like a relative path, such as `..`.
    return f"{call.origin}{escape_uri_path(call.path)}?{query}"


def _value(name: str, given: list[str], parsers: Parsers) -> Any:
    if name not in parsers:
        raise ValueError(f"unknown parameter; the parameters are: {', '.join(parsers)}.")
    if len(given) != 1:
        raise ValueError("must be given once.")
    return parsers[name](given[0])


def given_limit(text: str) -> int:
    """How many there are on a page. Raises ValueError."""
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LIMIT_MAX:
        return int(text)
    raise ValueError(f"must be a whole number from 1 to {LIMIT_MAX}.")


def given_cursor(text: str) -> str:
    """Where a page starts. Raises ValueError if it is empty."""
    if not text:
        raise ValueError("must not be empty; leave it out for the first page.")
    return text


def _tier(text: str) -> str:
    if text not in ("hot", "archive"):
        raise ValueError("must be hot or archive.")
    return text


_PARSERS: Parsers = {
    "limit": given_limit,
    "cursor": given_cursor,
    "created_after": parse_time,
    "created_before": parse_time,
    "tier": _tier,
}
