"""What models cost: the prices of each, by the day from which they hold."""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from storage.models import ModelPrice
from storage.sql.errors import translated

MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """The price of a million tokens, in the currency of the settings."""

    input_price: Decimal
    output_price: Decimal

    def of(self, input_tokens: int, output_tokens: int) -> Decimal:
        """What so many tokens cost."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / MILLION


class Prices:
    """All prices, as they are at one moment."""

    def __init__(self) -> None:
        self._days: dict[str, list[date]] = defaultdict(list)
        self._prices: dict[str, list[Price]] = defaultdict(list)

    def add(self, model_used: str, valid_from: date, price: Price) -> None:
        """Add a price that holds later than those of this model which were added before."""
        self._days[model_used].append(valid_from)
        self._prices[model_used].append(price)

    def at(self, model_used: str, day: date) -> Price | None:
        """The price of a model on a day, or None if it has none yet."""
        count = bisect_right(self._days.get(model_used, ()), day)
        return self._prices[model_used][count - 1] if count else None

    def changes(self, first: date, last: date) -> list[date]:
        """The days after `first`, until `last`, from which a model has another price."""
        days = {day for days in self._days.values() for day in days if first < day <= last}
        return sorted(days)


def prices() -> Prices:
    """The prices as they are now. Raises StorageError."""
    found = Prices()
    rows = ModelPrice.objects.order_by("model_used", "valid_from")
    with translated:
        for model_used, valid_from, *price in rows.values_list(
            "model_used", "valid_from", "input_price", "output_price"
        ):
            found.add(model_used, valid_from, Price(*price))
    return found
