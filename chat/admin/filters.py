"""What the list of interactions can be asked for, as a form and as query parameters."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from chat.admin.masking import may_reveal
from chat.admin.user_forms import AsWrittenField
from storage import limits
from storage.models import UsageOfModel
from storage.records.searches import TEXT_MAX, Search, Tier
from storage.sql.errors import translated

DAY = "Enter a day such as 2026-11-30."
TOKENS = f"Enter a whole number from 0 to {limits.TOKENS_MAX:,}."

SUGGESTED_DAYS = 30
SUGGESTED_AT_MOST = 100

TEXT_REFUSED = "Searching in texts needs the permission to read them. Leave q out."
ID_ALONE = "An interaction id finds one interaction. Leave the filters empty with it."


def _day(label: str) -> forms.DateField:
    # Not the very first and last ones: the day after is computed, too.
    within = [MinValueValidator(date(1, 1, 2), DAY), MaxValueValidator(date(9999, 1, 1), DAY)]
    return forms.DateField(
        label=label,
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        validators=within,
        error_messages={"invalid": DAY},
    )


def _tokens(label: str) -> forms.IntegerField:
    errors = dict.fromkeys(("invalid", "min_value", "max_value"), TOKENS)
    return forms.IntegerField(
        label=label,
        required=False,
        min_value=0,
        max_value=limits.TOKENS_MAX,
        error_messages=errors,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
    )


def _choice(label: str, choices: dict[str, str]) -> forms.ChoiceField:
    allowed = ", ".join(filter(None, choices))
    wrong = f"Choose one of: {allowed}; or leave it out."
    return forms.ChoiceField(
        label=label,
        required=False,
        choices=list(choices.items()),
        error_messages={"invalid_choice": wrong},
    )


class FilterForm(forms.Form):
    """The filters. All that are set must hold."""

    user_id = AsWrittenField(
        label="User",
        required=False,
        max_length=limits.IDENTIFIER_MAX_LENGTH,
    )
    q = forms.CharField(label="Words in the texts", required=False, max_length=TEXT_MAX)
    model_used = AsWrittenField(
        label="Model",
        required=False,
        max_length=limits.MODEL_MAX_LENGTH,
        widget=forms.TextInput(attrs={"list": "models"}),
    )
    first_day = _day("From day (UTC)")
    last_day = _day("To day (UTC)")
    tier = _choice("Tier", {"": "Hot and archived", "hot": "Hot", "archive": "Archived"})
    answered = _choice("Answer", {"": "Any", "yes": "With an answer", "no": "Without an answer"})
    tokens_min = _tokens("Tokens, at least")
    tokens_max = _tokens("Tokens, at most")

    ALWAYS_SHOWN = ("user_id", "q", "model_used")

    def __init__(self, data: QueryDict, request: HttpRequest) -> None:
        super().__init__(data, label_suffix="", use_required_attribute=False)
        self.may_search_texts = may_reveal(request)
        for field in self.fields.values():
            field.widget.attrs |= {"autocomplete": "off"}  # others may use this computer, too

    def clean_q(self) -> str:
        """Refuse a text from whoever may not read texts: what is found would tell them."""
        text: str = self.cleaned_data["q"]
        if text and not self.may_search_texts:
            raise forms.ValidationError(TEXT_REFUSED)
        return text

    def clean(self) -> dict[str, Any]:
        """Refuse ranges that end before they begin."""
        values = super().clean() or {}
        for low, high, what in (
            ("first_day", "last_day", "the first day"),
            ("tokens_min", "tokens_max", "the smallest number"),
        ):
            first, last = values.get(low), values.get(high)
            if first is not None and last is not None and last < first:
                self.add_error(high, f"Must not be less than {what}.")
        return values

    @property
    def shown(self) -> list[forms.BoundField]:
        """The fields that are always on the page."""
        return [
            field
            for field in self
            if field.name in self.ALWAYS_SHOWN and (field.name != "q" or self.may_search_texts)
        ]

    @property
    def more(self) -> list[forms.BoundField]:
        """The fields that unfold."""
        return [field for field in self if field.name not in self.ALWAYS_SHOWN]

    @property
    def has_more(self) -> bool:
        """Whether one of those is set, or wrong."""
        return any(field.value() or field.errors for field in self.more)

    @property
    def given(self) -> dict[str, Any]:
        """The filters that are set."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}

    def search(self, cursor: str | None, limit: int) -> Search:
        """The search for what was asked. Only for a form that is valid."""
        values = self.given
        tier: Tier = values.get("tier", "all")
        answered = values.get("answered")
        return Search(
            text=values.get("q", ""),
            user_id=values.get("user_id"),
            model_used=values.get("model_used"),
            created_after=_midnight(values.get("first_day")),
            created_before=_midnight(values.get("last_day"), days=1),
            tier=tier,
            answered=None if answered is None else answered == "yes",
            tokens_min=values.get("tokens_min"),
            tokens_max=values.get("tokens_max"),
            limit=limit,
            cursor=cursor,
            whole_texts=False,
        )

    def for_audit(self, *, is_found: bool) -> dict[str, Any]:
        """The filters for the audit log: that there was a text, but not which, and no user.

        A model under which nothing is found may be anything that was typed, so it is left out, too.
        """
        filters: dict[str, Any] = {
            name: value if isinstance(value, int) else str(value)
            for name, value in self.given.items()
            if name not in ("q", "user_id")
        }
        if not is_found and filters.pop("model_used", None):
            filters["by_model"] = True
        return filters | ({"by_text": True} if self.given.get("q") else {})


def models() -> list[str]:
    """Models that were used lately, as suggestions. Raises StorageError."""
    since = timezone.now().date() - timedelta(days=SUGGESTED_DAYS)
    used = UsageOfModel.objects.filter(day__gte=since).order_by("model_used")
    with translated:
        return list(used.values_list("model_used", flat=True).distinct()[:SUGGESTED_AT_MOST])


def _midnight(day: date | None, days: int = 0) -> datetime | None:
    """When a day begins, or the one so many days later."""
    if day is None:
        return None
    return datetime.combine(day + timedelta(days=days), time(), UTC)
