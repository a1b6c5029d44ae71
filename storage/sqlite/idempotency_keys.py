"""Idempotency keys in the SQL database: which interaction a key has created.

Called inside the transaction that saves the interaction, so that both are written or neither is.
"""

from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from storage.exceptions import IdempotencyKeyReused
from storage.models import ChatInteraction, IdempotencyRecord
from storage.models.idempotency import IDEMPOTENCY_LIFETIME, Idempotency

EXPIRED_PER_WRITE = 2
"""Expired records that are deleted with each new one. So the table shrinks without a job."""


def find(alias: str, idempotency: Idempotency) -> str | None:
    """Returns the id that this key created, or None.

    Raises IdempotencyKeyReused if the key came with another request.
    """
    requests = {known.key: known.request for known in idempotency.known_as}
    records = IdempotencyRecord.objects.using(alias)
    record = records.filter(key__in=requests, expires_at__gt=timezone.now()).first()
    if record is None:
        return None
    if record.request != requests[record.key]:
        raise IdempotencyKeyReused("This idempotency key came with another request before.")
    return record.interaction_id


def remember(alias: str, idempotency: Idempotency, made: ChatInteraction) -> None:
    """Record what this key created, and delete a few expired records."""
    now, records = timezone.now(), IdempotencyRecord.objects.using(alias)
    records.bulk_create(
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
    expired = records.filter(expires_at__lte=now).order_by("expires_at")
    records.filter(key__in=expired.values("key")[:EXPIRED_PER_WRITE]).delete()


def forget_user(alias: str, user_id: str) -> int:
    """Delete the records of a user's interactions; returns their number."""
    return IdempotencyRecord.objects.using(alias).filter(user_id=user_id).delete()[0]


def remove_expired(alias: str, until: datetime, limit: int) -> int:
    """Delete up to `limit` records that expired at or before `until`; returns their number."""
    expired = _expired(alias, until)
    keys = list(expired.order_by("expires_at").values_list("pk", flat=True)[:limit])
    return expired.filter(pk__in=keys).delete()[0] if keys else 0


def count_expired(alias: str, until: datetime) -> int:
    """The number of records that expired at or before `until`."""
    return _expired(alias, until).count()


def _expired(alias: str, until: datetime) -> "QuerySet[IdempotencyRecord]":
    return IdempotencyRecord.objects.using(alias).filter(expires_at__lte=until)
