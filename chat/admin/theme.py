"""The look of the admin: Unfold's, or Django's own where Unfold is not installed."""

from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib import admin

if TYPE_CHECKING or not apps.is_installed("unfold"):
    ThemedModelAdmin = admin.ModelAdmin
else:
    from unfold.admin import ModelAdmin as ThemedModelAdmin

__all__ = ["ThemedModelAdmin"]
