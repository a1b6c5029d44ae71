"""Keeps interactions out of the SQL database where they are in DynamoDB."""

from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from storage.models import ArchivedInteraction, ChatInteraction, IdempotencyRecord, Lock

ELSEWHERE = (ChatInteraction, ArchivedInteraction, IdempotencyRecord, Lock)


class NoInteractions:
    """A database router: a stray `interaction.save()` fails loudly instead of going astray."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Refuse the ORM for interactions; leave all else to Django."""
        return _refuse(model) if model in ELSEWHERE else None

    db_for_write = db_for_read

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool | None:
        """No table for interactions."""
        if any(model._meta.label_lower == f"{app_label}.{model_name}" for model in ELSEWHERE):
            return False
        return None


def _refuse(model: type[Model]) -> NoReturn:
    raise ImproperlyConfigured(
        f"{model.__name__} is kept in DynamoDB here, not in the SQL database. "
        "Use storage.get_storage()."
    )
