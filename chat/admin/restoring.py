"""Restoring an archived day from the admin, for an investigation."""

from datetime import UTC, date, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from chat.admin import auditing
from chat.admin.pages import page
from chat.admin.user_forms import ReasonForm
from chat.admin.user_requests import guarded, refused
from chat.maintenance import restoring
from chat.maintenance.identity import require_archive
from chat.maintenance.policy import Policy
from chat.maintenance.restoring import NothingArchived, Restored
from chat.maintenance.runs import OutOfTime, Run
from chat.times import parse_day
from storage import get_storage
from storage.accounts.audit_log import Action
from storage.archive.archive import Archive

REQUEST_SECONDS = 10.0
"""How long a request restores. `manage.py restore_archive` continues it."""


class RestoreForm(ReasonForm):
    """Why a day is restored, and which."""

    day = forms.DateField(widget=forms.HiddenInput)


@require_http_methods(["GET", "HEAD", "POST"])
@guarded("storage.restore_day")
def restore_day(request: HttpRequest) -> HttpResponse:
    """The archived days; how much one of them has (`day`); and restoring it."""
    if request.method == "POST":
        form = RestoreForm(request.POST)
        if form.is_valid():
            return _restored(request, form.cleaned_data)
        day = _day(form.data.get("day", ""))
    else:
        form = None
        day = _day(request.GET.get("day", ""))
        is_one = [*request.GET.lists()] == [("day", [request.GET.get("day")])]
        if request.GET and (day is None or not is_one):
            return refused(request, "Name one day, such as ?day=2026-10-23.", 400)
    storage = get_storage()
    require_archive(storage)  # without it no day would seem to be archived
    archive = storage.archive
    cutoff = Policy.at(datetime.now(UTC)).cutoff
    context: dict[str, Any] = {
        "days": [each for each in reversed(archive.days()) if each >= cutoff.date()],
        "day": day,
    }
    if day is not None:
        context |= _size(archive, day)
        context["form"] = form or RestoreForm(initial={"day": day})
    status = 200 if form is None else 400
    return page(request, "user/restore.html", "Restore a day", status=status, **context)


def _restored(request: HttpRequest, asked: dict[str, Any]) -> HttpResponse:
    storage, day, report = get_storage(), asked["day"], Restored()
    details = {"day": day.isoformat()}
    try:
        with Run(storage, max_seconds=REQUEST_SECONDS) as run:
            policy = Policy.at(run.now)
            restoring.require_archived(storage, day, policy.cutoff)
            auditing.record(request, Action.RESTORED, reason=asked["reason"], details=details)
            restoring.restore(storage, day, policy, run, report)
    except NothingArchived as error:
        return refused(request, str(error), 404)
    except OutOfTime:
        messages.warning(
            request,
            f"{report.restored} interactions of {day} are hot again, and {report.remaining} are "
            f"left. Restore the day once more to go on, or run: manage.py restore_archive {day}",
        )
    else:
        messages.success(
            request,
            f"{report.restored} interactions of {day} are hot again. The next archive run "
            "archives them again.",
        )
    return HttpResponseRedirect(reverse("admin:chat_restore"))


def _day(text: str) -> date | None:
    try:
        return parse_day(text)
    except ValueError:
        return None


def _size(archive: Archive, day: date) -> dict[str, Any]:
    """How much of a day is archived, by the names of its files; what is deleted may be in it."""
    listed = archive.listed(day)[0]
    heads = [each.head for each in listed]
    if not all(heads):
        return {"segments": len(listed), "rows": None}
    return {"segments": len(listed), "rows": sum(head.count for head in heads if head)}
