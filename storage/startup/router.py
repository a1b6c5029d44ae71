"""Keeps interactions out of the SQL database when they are in DynamoDB."""

from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from storage.models import (
    ArchivedInteraction,
    ChatInteraction,
    IdempotencyRecord,
    Lock,
    TextChange,
)

ELSEWHERE = (ChatInteraction, ArchivedInteraction, IdempotencyRecord, Lock, TextChange)


class NoInteractions:
    """A database router: `interaction.save()` fails instead of saving in the wrong place."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Refuse interactions, and leave other models to Django."""
        return _refuse(model) if model in ELSEWHERE else None

    db_for_write = db_for_read

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool | None:
        """Create no tables for interactions."""
        if any(model._meta.label_lower == f"{app_label}.{model_name}" for model in ELSEWHERE):
            return False
        return None


def _refuse(model: type[Model]) -> NoReturn:
    raise ImproperlyConfigured(
        f"{model.__name__} is stored in DynamoDB here, not in the SQL database. "
        "Use storage.get_storage()."
    )
