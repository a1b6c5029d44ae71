"""The look of the admin: Unfold's where it is installed, else Django's own."""

from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib import admin

if TYPE_CHECKING or not apps.is_installed("unfold"):
    ThemedModelAdmin = admin.ModelAdmin
else:
    from unfold.admin import ModelAdmin as ThemedModelAdmin

__all__ = ["ThemedModelAdmin"]
