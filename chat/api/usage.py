"""The call for usage: how much was used, and what it cost."""

from datetime import UTC, datetime, time
from typing import Any

from django.conf import settings

from chat.api import operations, parameters
from chat.api.exchange import Answer, Call
from chat.api.mistakes import Mistakes
from chat.api.views import StoreView, answering
from chat.times import parse_day
from chat.usage import Question, count, dimensions, period, report
from storage import limits
from storage.records import cursors
from storage.records.json import dumps, format_time

USERS_DEFAULT = 20
USERS_MAX = 100


def get_usage(call: Call) -> Answer:
    """The usage of everybody, or of one user."""
    call.caller.require_usage()
    question, rest, given = _question(call)
    scope = ("usage", *(str(part) for part in vars(question).values()))
    after = cursors.decode(rest["cursor"], scope)[1] if "cursor" in rest else ""
    complete_until = count()
    found = report(question, after, rest.get("limit", USERS_DEFAULT))
    cursor = None
    if found.next_user is not None:
        start = datetime.combine(question.first, time.min, UTC)
        cursor = cursors.encode((start, found.next_user), scope)
    return Answer(
        dumps(
            {
                "results": [line.as_record() for line in found.lines],
                "next": parameters.next_url(call, given, cursor),
                "start_date": question.first,
                "end_date": question.last,
                "currency": settings.CURRENCY,
                "unpriced_models": found.unpriced_models,
                "complete_until": None if complete_until is None else format_time(complete_until),
            }
        )
    )


def _question(call: Call) -> tuple[Question, dict[str, Any], parameters.Given]:
    """What a call asks, the place in it, and the query parameters as they came.

    A key that is bound to a user asks about this user. Raises InvalidRequest, PermissionDenied and
    TooManyFieldsSent.
    """
    mistakes = Mistakes()
    values, given = parameters.values_of(call, _PARSERS, mistakes)
    days = values.pop("start_date", None), values.pop("end_date", None)
    if not mistakes.count:
        try:
            days = period(*days)
        except ValueError as error:
            mistakes.add_parameter("start_date", str(error))
    parameters.refuse(mistakes)
    user_id = values.pop("user_id", call.caller.user_id)
    if user_id is not None:
        call.caller.require(user_id)
    question = Question(
        *days,
        values.pop("group_by", ("day", "model")),
        values.pop("model_used", None),
        user_id,
    )
    # The next page is about the same days, also if it is asked for tomorrow.
    return question, values, {**given, "start_date": days[0], "end_date": days[1]}


def _user(text: str) -> str:
    if problem := limits.identifier_violation(text):
        raise ValueError(problem)
    return text


def _model(text: str) -> str:
    if problem := limits.model_violation(text):
        raise ValueError(problem)
    return text


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= USERS_MAX:
        return int(text)
    raise ValueError(f"must be a whole number from 1 to {USERS_MAX}.")


_PARSERS: parameters.Parsers = {
    "start_date": parse_day,
    "end_date": parse_day,
    "group_by": dimensions,
    "model_used": _model,
    "user_id": _user,
    "limit": _limit,
    "cursor": parameters.given_cursor,
}


class UsageView(StoreView):
    """What was used."""

    get = operations.get_usage(answering(get_usage))
