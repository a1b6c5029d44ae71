"""Locks in the SQL database."""

from datetime import UTC, datetime

from django.db import transaction

from storage.database import END_OF_TIME, latest_lock_end
from storage.models import Lock


def acquire(alias: str, name: str, owner: str, seconds: float) -> bool:
    """Acquire a free or expired lock, or renew it. Returns whether `owner` holds it."""
    with transaction.atomic(alias):  # IMMEDIATE, so no other process comes in between
        if owner_of(alias, name, seconds) not in (None, owner):
            return False
        until = _time(min(datetime.now(UTC).timestamp() + seconds, END_OF_TIME))
        Lock.objects.using(alias).update_or_create(
            name=name, defaults={"owner": owner, "until": until}
        )
        return True


def owner_of(alias: str, name: str, seconds: float) -> str | None:
    """Returns who holds a lock that is acquired for so many seconds, or None."""
    now = datetime.now(UTC)
    latest = _time(latest_lock_end(now.timestamp(), seconds))
    held = Lock.objects.using(alias).filter(name=name, until__gt=now, until__lte=latest)
    return held.values_list("owner", flat=True).first()


def release(alias: str, name: str, owner: str) -> None:
    """Release a lock if `owner` holds it."""
    Lock.objects.using(alias).filter(name=name, owner=owner).delete()


def drop(alias: str, name: str) -> None:
    """Release a lock, whoever holds it."""
    Lock.objects.using(alias).filter(name=name).delete()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
