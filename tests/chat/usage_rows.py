"""Rows of the roll-ups, for tests of what is read from them."""

from datetime import date, timedelta
from decimal import Decimal

from django.utils import timezone

from storage.models import ModelPrice, UsageOfModel, UsageOfUser


def today() -> date:
    """The day that it is (UTC)."""
    return timezone.now().date()


def used(
    days_ago: int = 0,
    model: str = "model-1",
    users: dict[str, tuple[int, int, int]] | None = None,
    *,
    answered: bool = True,
    **tiers: int,
) -> None:
    """Interactions of users on a day: {"ada": (interactions, input tokens, output tokens)}.

    They count for the model, too, as hot ones unless `hot` and `cold` say otherwise.
    """
    day = today() - timedelta(days=days_ago)
    numbers = users or {"ada": (1, 5, 7)}
    UsageOfUser.objects.bulk_create(
        UsageOfUser(
            day=day,
            user_id=user_id,
            model_used=model,
            interactions=interactions,
            unanswered=0 if answered else interactions,
            input_tokens=inputs,
            output_tokens=outputs,
        )
        for user_id, (interactions, inputs, outputs) in numbers.items()
    )
    interactions, inputs, outputs = map(sum, zip(*numbers.values(), strict=True))
    UsageOfModel.objects.create(
        day=day,
        model_used=model,
        interactions=interactions,
        unanswered=0 if answered else interactions,
        input_tokens=inputs,
        output_tokens=outputs,
        **({"hot": interactions} | tiers),
    )


def priced(
    model: str = "model-1", days_ago: int = 1000, inputs: str = "1", outputs: str = "2"
) -> ModelPrice:
    """A price from a day on, of a million tokens."""
    return ModelPrice.objects.create(
        model_used=model,
        valid_from=today() - timedelta(days=days_ago),
        input_price=Decimal(inputs),
        output_price=Decimal(outputs),
    )
