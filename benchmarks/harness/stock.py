"""A stock `ModelAdmin` of interactions beside the project's admin, with Django's own templates.

It is the project's URL configuration and one address more: name this module as ROOT_URLCONF.
"""

from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.admin import AdminSite, ModelAdmin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from config.urls import handler400, handler403, handler404, handler500
from config.urls import urlpatterns as own
from storage.models import ChatInteraction

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

ENGINE = "stock"


class Stock(ModelAdmin):  # type: ignore[type-arg]
    """As in Django's tutorial."""

    list_display = ("created_at", "user_id", "message", "model_used", "input_tokens")
    list_filter = ("model_used", "created_at")
    search_fields = ("message", "response")
    list_per_page = 50

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return _with_own_templates(super().changelist_view(request, extra_context))

    def change_view(self, *arguments: Any, **named: Any) -> HttpResponse:
        return _with_own_templates(super().change_view(*arguments, **named))


def _with_own_templates(response: Any) -> HttpResponse:
    """Those of the theme come first otherwise, and cost more."""
    response.using = ENGINE
    return response  # type: ignore[no-any-return]


def add_templates() -> None:
    """Call it before Django renders anything."""
    options = settings.TEMPLATES[0]["OPTIONS"]
    folder = Path(apps.get_app_config("admin").module.__file__ or "").parent / "templates"
    settings.TEMPLATES = [
        settings.TEMPLATES[0] | {"NAME": "django"},
        {
            "NAME": ENGINE,
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [folder],
            "OPTIONS": options,
        },
    ]


site = AdminSite("stock")
site.register(ChatInteraction, Stock)
urlpatterns = [*own, path("stock/", site.urls)]
