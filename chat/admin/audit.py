"""The pages of the audit log: a list with filters, and the same as CSV. Nobody can change it."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from chat.admin import auditing
from chat.admin.pages import page, unavailable
from chat.admin.theme import ThemedModelAdmin
from chat.admin.waits import ANSWER_SECONDS
from storage.accounts import audit_pages
from storage.accounts.audit_log import Action
from storage.accounts.audit_pages import AuditQuery
from storage.exceptions import StorageError
from storage.models import AuditEntry
from storage.sql.vendors import answered_within

if TYPE_CHECKING:
    BaseAdmin = admin.ModelAdmin[AuditEntry]
else:
    BaseAdmin = ThemedModelAdmin

PAGE_SIZE = 50
DAY = "Enter a day such as 2026-11-30."

COLUMNS = [
    *("id", "at", "action", "staff", "address", "user_pseudonym", "interaction_id"),
    *("reason", "details", "key_id", "digest"),
]


class FilterForm(forms.Form):
    """What the list can be asked for."""

    staff = forms.CharField(required=False, max_length=150, strip=False, label="Account")
    action = forms.ChoiceField(
        required=False, choices=[("", "Anything"), *((each.value, each.value) for each in Action)]
    )
    user = forms.CharField(required=False, max_length=255, strip=False, label="User id")
    pseudonym = forms.RegexField(r"^[0-9a-f]{32}$", required=False, widget=forms.HiddenInput)
    day = forms.DateField(
        required=False,
        label="Day (UTC)",
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": DAY},
        validators=[MaxValueValidator(date(9999, 1, 1), DAY)],  # the day after is computed, too
    )
    before = forms.IntegerField(
        required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput
    )

    def __init__(self, given: QueryDict) -> None:
        super().__init__(given, auto_id="audit_%s")
        self._unknown = sorted(given.keys() - self.base_fields.keys())
        self._repeated = sorted(name for name, values in given.lists() if len(values) > 1)

    def clean(self) -> dict[str, Any]:
        """Refuse what would otherwise be ignored, and show more than was asked for."""
        if self._unknown:
            known = ", ".join(self.base_fields)
            raise forms.ValidationError(
                f"Unknown: {', '.join(self._unknown)}. There are only these parameters: {known}."
            )
        if self._repeated:
            raise forms.ValidationError(f"Give {' and '.join(self._repeated)} once.")
        return super().clean() or {}

    @property
    def query(self) -> AuditQuery:
        """What a valid form asks for."""
        values = dict(self.cleaned_data)
        return AuditQuery(user_id=values.pop("user"), **values)


@admin.register(AuditEntry)
class AuditAdmin(BaseAdmin):
    """For those who may view the audit log. Nobody may change it, superusers neither."""

    def get_urls(self) -> list[URLPattern]:
        """The list and the file alone."""
        views = {"": (self.list_view, "changelist"), "export/": (self.export_view, "export")}
        return [
            path(route, self.admin_site.admin_view(require_safe(view)), name=_name(name))
            for route, (view, name) in views.items()
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """A page of entries. Looking at it is an entry, too, which the next look shows."""
        form = self._form(request)
        if not form.is_valid():
            return _page(request, form, status=400)
        try:
            found = audit_pages.page(form.query, PAGE_SIZE)
            self._record(request, Action.LISTED, form.query)
        except StorageError as error:
            return unavailable(request, error)
        filters = {name: text for name, text in request.GET.items() if text and name != "before"}
        return _page(
            request,
            form,
            found=found,
            filters=filters,
            newest_url=f"?{urlencode(filters)}" if form.query.before else "",
            older_url=f"?{urlencode(filters | {'before': found.next_before})}",
            export_url=f"export/?{urlencode(filters)}",
        )

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """All entries that the filters leave, as CSV."""
        form = self._form(request)
        if not form.is_valid():
            return _page(request, form, status=400)
        try:
            # What is exported ends where it begins: this entry would be in some and not in others.
            newest = audit_pages.page(AuditQuery(), 1).entries
            self._record(request, Action.EXPORTED, form.query)
        except StorageError as error:
            return unavailable(request, error)
        end = newest[0].pk + 1 if newest else 1
        query = replace(form.query, before=min(form.query.before or end, end))
        response = StreamingHttpResponse(_csv(query), content_type="text/csv; charset=utf-8")
        name = f"audit-log-{timezone.now():%Y-%m-%d}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _form(self, request: HttpRequest) -> FilterForm:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return FilterForm(request.GET)

    def _record(self, request: HttpRequest, action: Action, query: AuditQuery) -> None:
        details = {
            "page": "audit log",
            "staff": _known(query.staff),
            "action": query.action,
            "pseudonym": query.pseudonym,
            "day": str(query.day or ""),
        }
        given = {name: text for name, text in details.items() if text}
        auditing.record(request, action, user_id=query.user_id, details=given)


def _known(staff: str) -> str:
    """The account, if the log has it. Otherwise anything may have been typed: a user's id, too."""
    return staff if staff and audit_pages.page(AuditQuery(staff=staff), 1).entries else ""


def _name(name: str) -> str:
    return f"storage_auditentry_{name}"


def _page(request: HttpRequest, form: FilterForm, **context: Any) -> HttpResponse:
    return page(
        request, "auditentry/log.html", "Audit log", opts=AuditEntry._meta, form=form, **context
    )


class _Line:
    """A file for a CSV writer, which gives back what is written to it."""

    def write(self, line: str) -> str:
        return line


def _csv(query: AuditQuery) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    entries = audit_pages.all_entries(query)
    while entry := _next(entries):
        yield writer.writerow(_cell(getattr(entry, name)) for name in COLUMNS)


def _next(entries: Iterator[AuditEntry]) -> AuditEntry | None:
    """The next one, or None. It is read after `LimitedWaits`, and must not wait for good either."""
    with answered_within(ANSWER_SECONDS):
        return next(entries, None)


def _cell(value: Any) -> Any:
    """What no spreadsheet takes for a formula.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if hasattr(value, "isoformat"):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    return f"'{value}" if str(value)[:1] in ("=", "+", "-", "@", "\t", "\r") else value
