"""The look of the admin: Unfold's, or Django's own where Unfold is not installed."""

from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm

if TYPE_CHECKING or not apps.is_installed("unfold"):
    ThemedModelAdmin = admin.ModelAdmin
    ThemedLoginForm = AdminAuthenticationForm
else:
    from unfold.admin import ModelAdmin as ThemedModelAdmin
    from unfold.forms import AuthenticationForm as ThemedLoginForm

__all__ = ["ThemedLoginForm", "ThemedModelAdmin"]
