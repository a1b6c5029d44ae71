"""The look of the admin: Unfold's, or Django's own where Unfold is not installed."""

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.forms import CheckboxInput
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

if TYPE_CHECKING or not apps.is_installed("unfold"):
    ThemedModelAdmin = admin.ModelAdmin
    ThemedLoginForm = AdminAuthenticationForm
    ThemedSwitch = CheckboxInput
else:
    from unfold.admin import ModelAdmin as ThemedModelAdmin
    from unfold.forms import AuthenticationForm as ThemedLoginForm
    from unfold.widgets import UnfoldBooleanSwitchWidget as ThemedSwitch

__all__ = ["ThemedLoginForm", "ThemedModelAdmin", "ThemedSwitch", "mark", "navigation"]

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

PAGES = [
    ("Legal holds", "admin:chat_holds", "storage.hold_user", "gavel"),
    ("Archived days", "admin:chat_restore", "storage.restore_day", "unarchive"),
]
"""Pages of interactions that belong to no model, with the permission that each needs."""


def mark(request: HttpRequest) -> str:
    """The address of the site's mark."""
    return static("chat/mark.svg")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's navigation: what whoever asks may open."""
    models = {
        model["object_name"]: (model["name"], model["admin_url"])
        for app in admin.site.get_app_list(request)
        for model in app["models"]
        if model["admin_url"]
    }
    groups = {
        title: [(*models.pop(name), symbols[name]) for name in symbols if name in models]
        for title, symbols in SYMBOLS.items()
    }
    groups["Interactions"] += [
        (title, reverse(name), symbol)
        for title, name, permission, symbol in PAGES
        if request.user.has_perm(permission)
    ]
    rest = [(*model, OTHER_SYMBOL) for model in models.values()]
    groups = {
        "": [("overview", reverse("admin:index"), "dashboard")],
        **groups,
        "More": [*rest, ("API documentation", reverse("docs"), "api")],
    }
    current = _current(request.path, [link for links in groups.values() for _, link, _ in links])
    return [
        {"title": title, "items": [_item(*link, current) for link in links]}
        for title, links in groups.items()
    ]


def _current(path: str, links: list[str]) -> str:
    """The link whose page this is, or whose page this one is below."""
    return max((link for link in links if path.startswith(link)), key=len, default="")


def _item(name: str, link: str, symbol: str, current: str) -> dict[str, Any]:
    title = name[:1].upper() + name[1:]
    return {"title": title, "link": link, "icon": symbol, "active": link == current}
