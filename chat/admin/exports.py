"""Exporting all data of a user from the admin."""

from datetime import UTC, datetime
from itertools import chain

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_http_methods

from chat.admin import auditing
from chat.admin.pages import page
from chat.admin.user_forms import ReasonForm
from chat.admin.user_requests import guarded, user_of, wrong_user
from chat.api.exports import lines
from chat.api.operations import EXPORT_TYPE
from chat.maintenance.export.exporting import pages_of
from storage import get_storage
from storage.accounts.audit_log import Action


@require_http_methods(["GET", "HEAD", "POST"])
@guarded("storage.export_user")
def export_user(request: HttpRequest) -> HttpResponseBase:
    """Asks for a reason, and then streams what `GET /api/v1/users/{id}/export/` does."""
    user_id = user_of(request)
    if user_id is None:
        return wrong_user(request)
    form = ReasonForm(request.POST or None)
    if not form.is_valid():
        status = 400 if form.is_bound else 200
        return page(
            request, "user/export.html", "Export a user", status=status, user_id=user_id, form=form
        )
    auditing.record(request, Action.EXPORTED, user_id=user_id, reason=form.cleaned_data["reason"])
    pages = pages_of(get_storage(), user_id)
    first = next(pages, [])  # if the storage does not answer, there is still a page to say so
    response = StreamingHttpResponse(lines(chain([first], pages)), content_type=EXPORT_TYPE)
    # Not the user's id: names of files are seen by others.
    name = f"export-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
