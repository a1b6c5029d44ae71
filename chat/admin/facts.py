"""What there is to know of an interaction besides its texts: cost, tier, how long it is kept."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings

from chat.admin.rows import visible
from chat.maintenance import holds
from chat.maintenance.identity import require_archive
from storage import expiry, get_storage
from storage.accounts.prices import prices
from storage.exceptions import StorageError
from storage.models import ChatInteraction
from storage.records.json import Record

SMALLEST_COST = Decimal("0.000001")


@dataclass(frozen=True)
class Facts:
    """The names are made visible (`chat.admin.rows.visible`).

    `cost` is in `currency`, and None if the model has no price.
    `archived_from` is None for what is archived, and `deleted_from` for what is kept for ever.
    `hold` is None if there is none, or if the archive did not answer (`is_hold_known`).
    """

    user_id: str = field(repr=False)
    model_used: str
    interaction_id: str
    cost: Decimal | None
    currency: str
    is_archived: bool
    archived_from: datetime | None
    is_due: bool
    deleted_from: datetime | None
    hold: holds.Hold | None = field(repr=False)
    is_hold_known: bool

    @property
    def costs_little(self) -> bool:
        """Whether the cost, rounded as it is shown, would seem to be nothing."""
        return self.cost is not None and 0 < self.cost < SMALLEST_COST


def facts(interaction: ChatInteraction, record: Record) -> Facts:
    """The facts about an interaction. Raises StorageError if the prices cannot be read."""
    is_archived = record.get("tier") == "archive"
    archived_from = _after(interaction, settings.RETENTION_HOT_DAYS)
    hold, is_hold_known = _hold(interaction)
    return Facts(
        user_id=visible(interaction.user_id),
        model_used=visible(interaction.model_used),
        interaction_id=visible(interaction.interaction_id),
        cost=_cost(interaction),
        currency=settings.CURRENCY,
        is_archived=is_archived,
        archived_from=None if is_archived else archived_from,
        is_due=not is_archived and interaction.created_at <= expiry.hot_since(),
        deleted_from=_after(interaction, settings.RETENTION_TOTAL_DAYS),
        hold=hold,
        is_hold_known=is_hold_known,
    )


def _cost(interaction: ChatInteraction) -> Decimal | None:
    price = prices().at(interaction.model_used, interaction.created_at.date())
    if price is None:
        return None
    return price.of(interaction.input_tokens, interaction.output_tokens)


def _after(interaction: ChatInteraction, days: int) -> datetime | None:
    try:
        return interaction.created_at + timedelta(days)
    except OverflowError:
        return None


def _hold(interaction: ChatInteraction) -> tuple[holds.Hold | None, bool]:
    """The hold that keeps it, on its user or its day; and whether that is known."""
    storage, day = get_storage(), interaction.created_at.date().isoformat()
    archive = storage.archive
    try:
        hold = holds.find(archive, "user", interaction.user_id) or holds.find(archive, "day", day)
        if hold is None:
            require_archive(storage)  # one that is not mounted seems to have none
        return hold, True
    except StorageError:
        return None, False  # the page is about what was read
