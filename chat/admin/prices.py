"""The admin of prices: what models cost, and from which day on."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import lazy

from chat.admin import auditing
from chat.admin.opened_before import KeepsOthersChanges
from chat.admin.theme import ThemedModelAdmin
from chat.admin.user_forms import AsWrittenField
from storage.accounts.audit_log import Action
from storage.models import ModelPrice

if TYPE_CHECKING:
    BaseAdmin = admin.ModelAdmin[ModelPrice]
    BaseForm = forms.ModelForm[ModelPrice]
else:
    BaseAdmin = ThemedModelAdmin
    BaseForm = forms.ModelForm


DAY_LOOKUPS = ("valid_from__gte", "valid_from__lt")


def _price_of_a_million(kind: str) -> Any:
    return lazy(lambda: f"A million {kind} tokens, {settings.CURRENCY}", str)()


class PriceForm(BaseForm):
    """The model is taken as it was written."""

    class Meta:
        field_classes = {"model_used": AsWrittenField}
        help_texts = {"model_used": "As interactions name it. Spaces count, also around it."}


@admin.register(ModelPrice)
class ModelPriceAdmin(KeepsOthersChanges, auditing.OneAtATime, BaseAdmin):
    """A changed price changes the cost of all days on which it holds. Each change is audited."""

    form = PriceForm
    list_display = ("model_used", "valid_from", "input_shown", "output_shown", "note")
    list_filter = ("valid_from",)
    search_fields = ("model_used",)
    fields = ("model_used", "valid_from", "input_price", "output_price", "note")

    @admin.display(description=_price_of_a_million("input"), ordering="input_price")
    def input_shown(self, price: ModelPrice) -> str:
        """The price without zeros at its end."""
        return f"{price.input_price.normalize():f}"

    @admin.display(description=_price_of_a_million("output"), ordering="output_price")
    def output_shown(self, price: ModelPrice) -> str:
        """As `input_shown`."""
        return f"{price.output_price.normalize():f}"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only those of the filter by day: Django fails at others, such as the year 0."""
        return lookup in DAY_LOOKUPS

    def save_model(self, request: HttpRequest, obj: ModelPrice, form: Any, change: bool) -> None:
        before = ModelPrice.objects.filter(pk=obj.pk).first() if change else None
        _audit(request, before, obj)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: ModelPrice) -> None:
        _audit(request, obj, None)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ModelPrice]) -> None:
        for price in _all(queryset):
            _audit(request, price, None)
        super().delete_queryset(request, queryset)


def _all(prices: QuerySet[ModelPrice]) -> Iterable[ModelPrice]:
    return list(prices)


def _audit(request: HttpRequest, before: ModelPrice | None, after: ModelPrice | None) -> None:
    """Write down what a price was and what it is to be. Raises StorageError."""
    details = {"before": _described(before), "after": _described(after)}
    auditing.record(request, Action.PRICES_CHANGED, details=details)


def _described(price: ModelPrice | None) -> dict[str, str] | None:
    if price is None:
        return None
    names = ("model_used", "valid_from", "input_price", "output_price")
    return {name: str(getattr(price, name)) for name in names}
