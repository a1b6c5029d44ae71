"""The site of the admin. It stands apart from `chat.admin`, which registers its pages at it."""

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse

if TYPE_CHECKING or not apps.is_installed("unfold"):
    ThemedAdminSite = AdminSite
else:
    from unfold.sites import UnfoldAdminSite as ThemedAdminSite


class StaffSite(ThemedAdminSite):
    """Its first page shows the state of the store, above the list of what there is."""

    index_title = "Overview"
    index_template = "admin/storage/dashboard/index.html"

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
