"""Locks in the SQL database."""

from datetime import UTC, datetime, timedelta

from django.db import transaction

from storage.models import Lock


def acquire(alias: str, name: str, owner: str, seconds: float) -> bool:
    """Acquire a free or expired lock, or renew it. Returns whether `owner` holds it."""
    now = datetime.now(UTC)
    until = now + timedelta(seconds=seconds)
    locks = Lock.objects.using(alias)
    with transaction.atomic(alias):  # IMMEDIATE, so no other process comes in between
        found = locks.filter(name=name).first()
        if found is not None and found.owner != owner and found.until > now:
            return False
        locks.update_or_create(name=name, defaults={"owner": owner, "until": until})
        return True


def release(alias: str, name: str, owner: str) -> None:
    """Release a lock if `owner` holds it."""
    Lock.objects.using(alias).filter(name=name, owner=owner).delete()


def drop(alias: str, name: str) -> None:
    """Release a lock, whoever holds it."""
    Lock.objects.using(alias).filter(name=name).delete()
