"""The Django applications for people and services that use interactions."""

from typing import Any

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class ChatConfig(AppConfig):
    """It has no models: the data belongs to `storage`."""

    name = "chat"


class AdminConfig(SimpleAdminConfig):
    """Django's admin. Its pages are loaded with the URLs: no command needs them, and with their
    look they take a third of its start.
    """

    default = False
    default_site = "chat.sites.StaffSite"

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(_check_admin, checks.Tags.admin)


class UnfoldConfig(AppConfig):
    """Unfold, without the import of the admin by its own configuration."""

    name = "unfold"
    default = False


def _check_admin(**kwargs: Any) -> list[checks.CheckMessage]:
    from django.contrib import admin

    admin.autodiscover()
    return check_admin_app(**kwargs)
