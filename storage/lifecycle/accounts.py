"""What Django itself keeps of a person: API keys bound to a user, and the admin's log of these."""

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from storage.models import ApiKey
from storage.sql_errors import translated


def forget_user(user_id: str) -> dict[str, int]:
    """Delete the API keys that are bound to a user, and what the admin has logged of them."""
    with translated, transaction.atomic():
        keys = ApiKey.objects.filter(user_id=user_id)
        log = LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(ApiKey),
            object_id__in=list(keys.values_list("pk", flat=True)),
        )
        return {"log entries": log.delete()[0], "API keys": keys.delete()[0]}
