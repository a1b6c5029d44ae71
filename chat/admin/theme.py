"""The look of the admin: Unfold's, or Django's own where Unfold is not installed."""

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

if TYPE_CHECKING or not apps.is_installed("unfold"):
    ThemedModelAdmin = admin.ModelAdmin
    ThemedLoginForm = AdminAuthenticationForm
else:
    from unfold.admin import ModelAdmin as ThemedModelAdmin
    from unfold.forms import AuthenticationForm as ThemedLoginForm

__all__ = ["ThemedLoginForm", "ThemedModelAdmin", "mark", "navigation"]

SYMBOLS = {
    "Interactions": {
        "ChatInteraction": "forum",
        "IntakeCount": "input",
        "UsageOfModel": "monitoring",
        "ModelPrice": "payments",
    },
    "Access": {
        "ApiKey": "key",
        "User": "person",
        "Group": "group",
        "AuditEntry": "history",
    },
}
"""The models of each group in the navigation, in this order, with their symbols."""

OTHER_SYMBOL = "table_rows"
"""Of models that are in no group. They come last."""


def mark(request: HttpRequest) -> str:
    """The address of the site's mark."""
    return static("chat/mark.svg")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's navigation: what whoever asks may open."""
    links = {
        model["object_name"]: (model["name"], model["admin_url"])
        for app in admin.site.get_app_list(request)
        for model in app["models"]
        if model["admin_url"]
    }
    groups = [
        _group(title, [(*links.pop(name), symbols[name]) for name in symbols if name in links])
        for title, symbols in SYMBOLS.items()
    ]
    rest = [(*link, OTHER_SYMBOL) for link in links.values()]
    return [
        _group("", [("overview", reverse("admin:index"), "dashboard")]),
        *groups,
        _group("More", [*rest, ("API documentation", reverse("docs"), "api")]),
    ]


def _group(title: str, links: list[tuple[str, str, str]]) -> dict[str, Any]:
    items = [
        {"title": name[:1].upper() + name[1:], "link": link, "icon": symbol}
        for name, link, symbol in links
    ]
    return {"title": title, "items": items}
