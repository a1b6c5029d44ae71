"""Idempotency keys in the SQL database: which interaction a key has created.

Called inside the transaction that saves the interaction, so that both are written or neither is.
"""

import functools
from datetime import datetime

from django.db.models import Q, QuerySet
from django.db.models.constants import OnConflict
from django.db.models.sql import DeleteQuery, InsertQuery
from django.utils import timezone

from storage.exceptions import IdempotencyKeyReused
from storage.models import ChatInteraction, IdempotencyRecord
from storage.models.idempotency import IDEMPOTENCY_LIFETIME, Idempotency
from storage.sqlite.queries import Parameter, insert_sql, sql_of, to_text
from storage.sqlite.statements import Statements

EXPIRED_PER_WRITE = 2
"""Expired records that are deleted with each new one. So the table shrinks without a job."""


def find(statements: Statements, idempotency: Idempotency) -> str | None:
    """Returns the id that this key created, or None.

    Raises IdempotencyKeyReused if the key came with another request.
    """
    sql, now = _select(statements.alias), to_text(timezone.now())
    for known in idempotency.known_as:
        for request, interaction_id in statements.rows(sql, {"key": known.key, "now": now}):
            if request != known.request:
                raise IdempotencyKeyReused
            return str(interaction_id)
    return None


def remember(statements: Statements, idempotency: Idempotency, made: ChatInteraction) -> None:
    """Record what this key created, and delete a few expired records."""
    now = timezone.now()
    record = {
        "key": idempotency.key,
        "request": idempotency.request,
        "interaction_id": made.interaction_id,
        "user_id": made.user_id,
        "expires_at": to_text(now + IDEMPOTENCY_LIFETIME),
    }
    statements.rows(_upsert(statements.alias), record)
    statements.rows(_delete_expired(statements.alias), {"now": to_text(now)})


def forget_user(alias: str, user_id: str) -> int:
    """Delete the records of a user's interactions; returns their number."""
    return IdempotencyRecord.objects.using(alias).filter(user_id=user_id).delete()[0]


def users(alias: str) -> list[str]:
    """The users of all records; earlier versions did not note them."""
    records = IdempotencyRecord.objects.using(alias).exclude(user_id="")
    return list(records.order_by().values_list("user_id", flat=True).distinct())


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


def _now() -> Parameter:
    return Parameter("now", IdempotencyRecord._meta.get_field("expires_at"))


@functools.cache
def _select(alias: str) -> str:
    """Parameters: key, now. Columns: request, interaction_id."""
    key = Parameter("key", IdempotencyRecord._meta.pk)
    found = IdempotencyRecord.objects.filter(key=key, expires_at__gt=_now())
    return sql_of(found.values_list("request", "interaction_id"), alias)


@functools.cache
def _upsert(alias: str) -> str:
    """Parameters: the fields."""
    key, *others = IdempotencyRecord._meta.concrete_fields
    query = InsertQuery(
        IdempotencyRecord,
        on_conflict=OnConflict.UPDATE,
        update_fields=others,
        unique_fields=[key],
    )
    return insert_sql(query, alias)


@functools.cache
def _delete_expired(alias: str) -> str:
    """Parameters: now."""
    records = IdempotencyRecord.objects.using(alias)
    expired = records.filter(expires_at__lte=_now()).order_by("expires_at")
    query = DeleteQuery(IdempotencyRecord)
    query.add_q(Q(key__in=expired.values("key")[:EXPIRED_PER_WRITE]))
    return query.get_compiler(alias).as_sql()[0]
