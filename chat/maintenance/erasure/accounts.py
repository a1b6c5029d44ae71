"""What Django itself keeps of a person: API keys bound to a user, and the admin's log of these."""

from django.contrib.admin.models import LogEntry
from django.db import transaction

from storage.models import ApiKey
from storage.sql_errors import translated
from storage.sqlite import space
from storage.sqlite.statements import Statements


def users(database: str) -> list[str]:
    """The users that API keys are bound to."""
    with translated:
        bound = ApiKey.objects.using(database).exclude(user_id="")
        return sorted(set(bound.values_list("user_id", flat=True)))


def forget_user(user_id: str, database: str = "default") -> dict[str, int]:
    """Delete the API keys that are bound to a user, and what the admin has logged of them."""
    with translated, transaction.atomic(database):
        keys = ApiKey.objects.using(database).filter(user_id=user_id)
        log = LogEntry.objects.using(database).filter(
            content_type__app_label=ApiKey._meta.app_label,
            content_type__model=ApiKey._meta.model_name,
            object_id__in=list(keys.values_list("pk", flat=True)),
        )
        return {"log_entries": log.delete()[0], "api_keys": keys.delete()[0]}


def scrub(database: str = "default") -> None:
    """Leave nothing of that in the files of the database. Raises StorageUnavailable."""
    with translated:
        space.scrub(Statements(database))
