"""Locks in the SQL database."""

from datetime import UTC, datetime, timedelta

from django.db import transaction

from storage.models import Lock


def take(alias: str, name: str, owner: str, seconds: float) -> bool:
    """Take a lock that is free, has ended, or is one's own; whether it is one's own now."""
    now = datetime.now(UTC)
    until = now + timedelta(seconds=seconds)
    locks = Lock.objects.using(alias)
    with transaction.atomic(alias):  # IMMEDIATE: nobody comes in between
        found = locks.filter(name=name).first()
        if found is not None and found.owner != owner and found.until > now:
            return False
        locks.update_or_create(name=name, defaults={"owner": owner, "until": until})
        return True


def release(alias: str, name: str, owner: str) -> None:
    """Give a lock back, if it is one's own."""
    Lock.objects.using(alias).filter(name=name, owner=owner).delete()
