"""Replay protection in the SQL database: which interaction an idempotency key has made.

Called inside the transaction that saves the interaction, so that both are written or neither.
"""

from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from storage.exceptions import IdempotencyKeyReused
from storage.models import ChatInteraction, IdempotencyRecord
from storage.models.idempotency import IDEMPOTENCY_LIFETIME, Idempotency

EXPIRED_PER_WRITE = 2
"""Expired records that each new one takes along: the table shrinks without a job of its own."""


def find(idempotency: Idempotency) -> str | None:
    """The id that this key has made, or None. Raises IdempotencyKeyReused for another request."""
    known = IdempotencyRecord.objects.filter(key=idempotency.key, expires_at__gt=timezone.now())
    record = known.first()
    if record is None:
        return None
    if record.request != idempotency.request:
        raise IdempotencyKeyReused("This idempotency key came with another request before.")
    return record.interaction_id


def remember(idempotency: Idempotency, made: ChatInteraction) -> None:
    """Record what this key has made, and drop a few records that have expired."""
    now = timezone.now()
    IdempotencyRecord.objects.bulk_create(
        [
            IdempotencyRecord(
                key=idempotency.key,
                request=idempotency.request,
                interaction_id=made.interaction_id,
                user_id=made.user_id,
                expires_at=now + IDEMPOTENCY_LIFETIME,
            )
        ],
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=["request", "interaction_id", "user_id", "expires_at"],
    )
    expired = IdempotencyRecord.objects.filter(expires_at__lte=now).order_by("expires_at")
    IdempotencyRecord.objects.filter(key__in=expired.values("key")[:EXPIRED_PER_WRITE]).delete()


def forget_user(alias: str, user_id: str) -> int:
    """Delete the records of what a user's requests have made; how many."""
    return IdempotencyRecord.objects.using(alias).filter(user_id=user_id).delete()[0]


def remove_expired(alias: str, until: datetime, limit: int) -> int:
    """Delete up to `limit` records that expired at or before `until`; returns the count."""
    expired = _expired(alias, until)
    keys = list(expired.order_by("expires_at").values_list("pk", flat=True)[:limit])
    return expired.filter(pk__in=keys).delete()[0] if keys else 0


def count_expired(alias: str, until: datetime) -> int:
    """How many records expired at or before `until`."""
    return _expired(alias, until).count()


def _expired(alias: str, until: datetime) -> "QuerySet[IdempotencyRecord]":
    return IdempotencyRecord.objects.using(alias).filter(expires_at__lte=until)
