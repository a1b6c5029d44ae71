"""The page *Intake*: what tools have sent lately, and why some of it is not stored."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from chat.admin.api_keys import may_make_keys
from chat.admin.pages import unavailable
from chat.admin.theme import ThemedModelAdmin
from chat.ingest.summary import since, summary
from storage.accounts import intake
from storage.exceptions import StorageError
from storage.models import IntakeCount

if TYPE_CHECKING:
    BaseAdmin = admin.ModelAdmin[IntakeCount]
else:
    BaseAdmin = ThemedModelAdmin

PERIODS = {1: "1 hour", 24: "24 hours", 7 * 24: "7 days", 30 * 24: "30 days"}
DEFAULT_HOURS = 24

CONNECT = (
    "OTEL_EXPORTER_OTLP_ENDPOINT={origin}/api/otlp\n"
    "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n"
    "OTEL_EXPORTER_OTLP_HEADERS=Authorization=Api-Key%20YOUR-KEY\n"
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY"
)


@admin.register(IntakeCount)
class IntakeAdmin(BaseAdmin):
    """One page, for staff who may view the intake. Numbers only: it shows no text and no user."""

    def get_urls(self) -> list[URLPattern]:
        """The page alone: a single count tells nobody anything."""
        view = self.admin_site.admin_view(require_safe(self.changelist_view))
        return [path("", view, name="storage_intakecount_changelist")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What came within the period that was asked for (`hours`), by source."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Intake",
        }
        try:
            context |= _shown(request, _hours(request))
        except StorageError as error:
            return unavailable(request, error)
        return TemplateResponse(request, "admin/storage/intakecount/intake.html", context)


def _hours(request: HttpRequest) -> int:
    asked = request.GET.get("hours", "")
    return next((hours for hours in PERIODS if str(hours) == asked), DEFAULT_HOURS)


def _shown(request: HttpRequest, hours: int) -> dict[str, Any]:
    now = timezone.now()
    sources = summary(hours, now)
    return {
        "periods": PERIODS,
        "hours": hours,
        "since": since(hours, now),
        "sources": sources,
        "last_at": None if sources else intake.last_at(),
        "connect": CONNECT.format(origin=request.build_absolute_uri("/").rstrip("/")),
        "may_add_key": may_make_keys(request),
    }
