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
"""For each parameter of a call, what reads its value, or raises ValueError."""


def page_query(call: Call) -> tuple[PageQuery, Given]:
    """The page that a call asks for, and in what words.

    Raises InvalidRequest naming all bad parameters, and TooManyFieldsSent.
    """
    query_string = call.environ.get("QUERY_STRING", "")
    # A cursor is used once, so only queries without one are worth remembering.
    parse = _page_query if "cursor" in query_string else _remembered_page_query
    return parse(query_string, call.encoding)


def values(call: Call, parsers: Parsers) -> tuple[dict[str, Any], Given]:
    """The values of the parameters of a call, with a limit, and in what words they were given.

    Raises InvalidRequest naming all bad parameters, and TooManyFieldsSent.
    """
    parameters = _parsed(call.environ.get("QUERY_STRING", ""), call.encoding)
    found, mistakes = _values(parameters, parsers)
    _refuse(mistakes)
    return found, parameters.dict()


def _page_query(query_string: str, encoding: str | None) -> tuple[PageQuery, Given]:
    parameters = _parsed(query_string, encoding)
    found, mistakes = _values(parameters, _PARSERS)
    if not mistakes.count and found.get("tier") == "archive":
        _check_range(found, mistakes)
    _refuse(mistakes)
    return PageQuery(**found), parameters.dict()


def _values(parameters: QueryDict, parsers: Parsers) -> tuple[dict[str, Any], Mistakes]:
    found: dict[str, Any] = {"limit": LIMIT_DEFAULT}
    mistakes = Mistakes()
    for name, given in parameters.lists():
        try:
            found[name] = _value(name, given, parsers)
        except ValueError as error:
            mistakes.add_parameter(name, str(error))
    return found, mistakes


_remembered_page_query = functools.lru_cache(maxsize=256)(_page_query)


def _parsed(query_string: str, encoding: str | None) -> QueryDict:
    return QueryDict(query_string.encode("iso-8859-1"), encoding=encoding)


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
        for name in _parsed(query_string, call.encoding):
            mistakes.add_parameter(name, "unknown parameter; this call takes none.")
        _refuse(mistakes)


def _refuse(mistakes: Mistakes) -> None:
    if mistakes.count:
        raise InvalidRequest("A query parameter is invalid; see errors.", mistakes)


def next_url(call: Call, given: Given, cursor: str | None) -> str | None:
    """The URL of the next page; None for the last page."""
    if cursor is None:
        return None
    parameters = {**given, "cursor": cursor}
    # build_absolute_uri would resolve an id that looks like a relative path, such as `..`.
    return f"{call.origin}{escape_uri_path(call.path)}?{urlencode(parameters)}"


def _value(name: str, given: list[str], parsers: Parsers) -> Any:
    if name not in parsers:
        raise ValueError(f"unknown parameter; the parameters are: {', '.join(parsers)}.")
    if len(given) != 1:
        raise ValueError("must be given once.")
    return parsers[name](given[0])


def limit(text: str) -> int:
    """The number of interactions on a page. Raises ValueError."""
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LIMIT_MAX:
        return int(text)
    raise ValueError(f"must be a whole number from 1 to {LIMIT_MAX}.")


def cursor(text: str) -> str:
    """Where a page starts. Raises ValueError."""
    if not text:
        raise ValueError("must not be empty; leave it out for the first page.")
    return text


def _tier(text: str) -> str:
    if text not in ("hot", "archive"):
        raise ValueError("must be hot or archive.")
    return text


_PARSERS: Parsers = {
    "limit": limit,
    "cursor": cursor,
    "created_after": parse_time,
    "created_before": parse_time,
    "tier": _tier,
}
