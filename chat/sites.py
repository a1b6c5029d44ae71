"""The site of the admin. It stands apart from `chat.admin`, which registers its pages at it."""

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse

if TYPE_CHECKING or not apps.is_installed("unfold"):
    ThemedAdminSite = AdminSite
else:
    from unfold.sites import UnfoldAdminSite as ThemedAdminSite


class StaffSite(ThemedAdminSite):
    """Its first page shows the state of the store, above the list of what there is."""

    index_title = "Overview"
    index_template = "admin/storage/dashboard/index.html"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The list of models. It is made once for a request: the frame and the page ask for it."""
        if app_label is not None:
            return super().get_app_list(request, app_label)
        if not hasattr(request, "app_list"):
            setattr(request, "app_list", super().get_app_list(request))  # noqa: B010  (mypy)
        made: list[dict[str, Any]] = getattr(request, "app_list")  # noqa: B009  (mypy)
        # Whoever gets it may change it, as the theme's search does.
        return [{**app, "models": [*app["models"]]} for app in made]

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Closed: no page leads to the theme's search, and it would keep what it finds in Redis."""
        raise Http404

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The first page. What cannot be asked for is a page with the status 400."""
        from chat.admin import dashboard  # registers pages, so it needs a site

        try:
            shown = dashboard.context(request)
        except dashboard.WrongParameters as error:
            return dashboard.refusal(request, error)
        return super().index(request, {**shown, **(extra_context or {})})
