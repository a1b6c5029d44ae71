"""The first page of the admin: what was used, what it cost, and whether the store is well.

Its numbers come from roll-ups by day, so that a view costs the same however much is stored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.template.response import TemplateResponse

from chat import operations, usage
from chat.admin.api_keys import may_make_keys
from chat.admin.pages import page
from chat.admin.plots import Plot, plots
from chat.metrics.cache import CacheUse, cache_use
from chat.usage import Line, Question, Report
from storage import get_storage, limits
from storage.accounts.prices import Prices, prices
from storage.exceptions import StorageError

PERIODS = {7: "7 days", 30: "30 days", 90: "90 days"}
DEFAULT_DAYS = 30

VIEW_USAGE = "storage.view_usageofmodel"
VIEW_USERS = "storage.view_chatinteraction"
VIEW_INTAKE = "storage.view_intakecount"
VIEW_PRICES = "storage.view_modelprice"
ADD_PRICES = "storage.add_modelprice"

TOP_USERS = 10
MODELS_TO_CHOOSE = 100
UNPRICED_SHOWN = 20


class WrongParameters(ValueError):
    """The address asks for something that this page does not have. The message says what it has."""


@dataclass(frozen=True)
class Chosen:
    """What is asked for: the number of days up to today, and a model or None for all."""

    days: int
    model_used: str | None
    today: date

    @property
    def first(self) -> date:
        """The first day of the period."""
        return self.today - timedelta(days=self.days - 1)

    def query(self, **changes: Any) -> str:
        """The query string of the page with another period or model."""
        asked = {"days": self.days, "model": self.model_used} | changes
        return "?" + urlencode({name: value for name, value in asked.items() if value})


def context(request: HttpRequest) -> dict[str, Any]:
    """What the template shows. Raises WrongParameters."""
    chosen = _chosen(request)
    if not request.user.has_perm(VIEW_USAGE):
        return {}
    counted = _part(usage.count)
    known = _part(prices).value  # None: what needs them asks again, and says what is wrong
    may_see_users = request.user.has_perm(VIEW_USERS)
    shown: dict[str, Any] = {
        "chosen": chosen,
        "currency": settings.CURRENCY,
        "may_see_users": may_see_users,
        "may_see_prices": request.user.has_perm(VIEW_PRICES),
        "may_add_key": may_make_keys(request),
        "may_add_price": request.user.has_perm(ADD_PRICES),
        "origin": request.build_absolute_uri("/").rstrip("/"),
        "counted": counted,
        "usage": _part(lambda: _usage(chosen, known)),
        "tiers": _part(lambda: operations.tiers(datetime.now(UTC))),
        "cache": _part(_cache),
        # From the same database: whoever has waited for it once need not wait again.
        "runs": Part(error=counted.error) if counted.error else _part(operations.runs),
        "space": _part(operations.space),
        "backup": _part(operations.backup),
    }
    if may_see_users:
        shown["top_users"] = _part(lambda: _top_users(chosen, known))
    if request.user.has_perm(VIEW_INTAKE):
        shown["intake"] = _part(lambda: operations.intake(chosen.days))
    shown["is_empty"] = _is_empty(shown["usage"], shown["tiers"])
    return {"store": shown}


def _cache() -> CacheUse:
    """How this server's cache is used."""
    get_storage()  # its metrics exist only once it has been made
    return cache_use()


def refusal(request: HttpRequest, error: WrongParameters) -> TemplateResponse:
    """The page that says what was wrong."""
    title = "This page cannot be shown"
    refused = page(request, "dashboard/refused.html", title, status=400, error=error)
    return cast(TemplateResponse, refused)


@dataclass(frozen=True)
class Part:
    """A part of the page, or why it cannot be shown."""

    value: Any = None
    error: str = ""


def _part(read: Callable[[], Any]) -> Part:
    """What `read` returns. A part that fails says so, and the others are shown."""
    try:
        return Part(read())
    except (StorageError, OSError) as error:
        return Part(error=str(error) or type(error).__name__)


def _chosen(request: HttpRequest) -> Chosen:
    given = request.GET
    unknown = sorted(set(given) - {"days", "model"})
    if unknown:
        raise WrongParameters(f"Unknown: {', '.join(unknown)}. The parameters are days and model.")
    if twice := [name for name, values in given.lists() if len(values) > 1]:
        raise WrongParameters(f"Give {' and '.join(twice)} once.")
    days = given.get("days", str(DEFAULT_DAYS))
    if days not in map(str, PERIODS):
        raise WrongParameters(f"days must be {', '.join(map(str, PERIODS))}.")
    model = given.get("model") or None
    if model and (problem := limits.model_violation(model)):
        raise WrongParameters(f"model {problem}")
    return Chosen(int(days), model, datetime.now(UTC).date())


@dataclass(frozen=True)
class Used:
    """What was used in the period."""

    periods: list[tuple[str, str, bool]]
    """Name, query string, and whether it is the one that is shown."""
    models: list[str]
    """Those to choose from, the ones with most tokens first."""
    total: Line
    plots: list[Plot]
    unpriced: list[tuple[str, str]]
    """Models without a price, each with the query string of the form that adds one. Not all."""
    unpriced_more: int
    """How many more of them there are."""

    @property
    def unanswered_share(self) -> str:
        """The share without a response, which is not 0 unless there is none; empty of nothing."""
        total = self.total
        if not total.interactions:
            return ""
        percent = 100 * total.unanswered / total.interactions
        return "< 0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"


def _usage(chosen: Chosen, known: Prices | None) -> Used:
    """One read for all models: those to choose from are among them."""
    found = usage.report(Question(chosen.first, chosen.today), known=known)
    models = _by_tokens(found)
    shown = [line for line in found.lines if chosen.model_used in (None, line.model_used)]
    total = usage.total(shown)
    without = {line.model_used or "" for line in shown if line.unpriced_interactions}
    unpriced = [name for name in models if name in without]
    days = [chosen.first + timedelta(days=number) for number in range(chosen.days)]
    names = models if chosen.model_used is None else [chosen.model_used]
    return Used(
        periods=[
            (name, chosen.query(days=days), days == chosen.days) for days, name in PERIODS.items()
        ],
        models=_to_choose(models, chosen.model_used),
        total=total,
        plots=plots(shown, days, names) if total.interactions else [],
        unpriced=[
            (name, "?" + urlencode({"model_used": name})) for name in unpriced[:UNPRICED_SHOWN]
        ],
        unpriced_more=len(unpriced[UNPRICED_SHOWN:]),
    )


def _by_tokens(found: Report) -> list[str]:
    """The models of the period, the one with most tokens first."""
    tokens: dict[str, int] = {}
    for line in found.lines:
        name = line.model_used or ""
        tokens[name] = tokens.get(name, 0) + line.tokens
    return sorted(tokens, key=lambda name: (-tokens[name], name))


def _to_choose(models: list[str], chosen: str | None) -> list[str]:
    shown = models[:MODELS_TO_CHOOSE]
    return shown if chosen is None or chosen in shown else [chosen, *shown]


def _top_users(chosen: Chosen, known: Prices | None) -> list[Line]:
    question = Question(chosen.first, chosen.today, ("user",), chosen.model_used)
    return usage.top_users(question, TOP_USERS, known)


def _is_empty(used: Part, tiers: Part) -> bool:
    """Whether nothing was ever counted, as far as is known."""
    if used.error or tiers.error:
        return False
    return not (used.value.models or tiers.value.hot or tiers.value.cold)
