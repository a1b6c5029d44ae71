"""The Django application that keeps interactions."""

from django.apps import AppConfig


class StorageConfig(AppConfig):
    """Registers the system checks."""

    name = "storage"
    verbose_name = "Chat store"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from storage.startup import (  # noqa: F401
            archive_checks,
            checks,
            index_checks,
            postgresql_checks,
            production_checks,
            trigger_checks,
        )
