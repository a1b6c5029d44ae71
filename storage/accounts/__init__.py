"""What the SQL database keeps of a user besides interactions.

That is API keys that are bound to the user, and the admin's log entries about these keys.
"""

from django.contrib.admin.models import LogEntry
from django.db import transaction

from storage.models import ApiKey
from storage.sql_errors import translated
from storage.sqlite import space
from storage.sqlite.statements import Statements


def users(alias: str = "default") -> list[str]:
    """The users that API keys are bound to. `alias` is Django's name for the database."""
    with translated:
        bound = ApiKey.objects.using(alias).exclude(user_id="")
        return sorted(set(bound.values_list("user_id", flat=True)))


def forget_user(user_id: str, alias: str = "default") -> dict[str, int]:
    """Delete all of it. Returns how many rows of each kind were deleted."""
    with translated, transaction.atomic(alias):
        keys = ApiKey.objects.using(alias).filter(user_id=user_id)
        log = LogEntry.objects.using(alias).filter(
            content_type__app_label=ApiKey._meta.app_label,
            content_type__model=ApiKey._meta.model_name,
            object_id__in=list(keys.values_list("pk", flat=True)),
        )
        return {"log_entries": log.delete()[0], "api_keys": keys.delete()[0]}


def scrub(alias: str = "default") -> None:
    """Leave no bytes of deleted rows in the database's files.

    Not needed if this is also the database with the interactions (`Database.holds_accounts`): then
    its own `scrub` does it. Raises StorageUnavailable while something is in the way; try again.
    """
    with translated:
        space.scrub(Statements(alias))
