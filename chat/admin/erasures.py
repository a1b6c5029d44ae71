"""Erasing a user from the admin, and the progress of an erasure up to its receipt."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chat.admin import auditing
from chat.admin.pages import page
from chat.admin.user_forms import ConfirmedForm
from chat.admin.user_requests import guarded, refused, user_of, wrong_user
from chat.maintenance.erasure import erasing, ledger
from chat.maintenance.identity import require_archive
from storage import accounts, get_storage
from storage.accounts.audit_log import Action
from storage.exceptions import DamagedArchive

ERASE = "storage.erase_user"

REQUEST_SECONDS = 2.0
"""How long a request works on an erasure. `manage.py erase_user --pending` continues it."""


@require_http_methods(["GET", "HEAD", "POST"])
@guarded(ERASE)
def erase_user(request: HttpRequest) -> HttpResponse:
    """Says what will go, and begins once the user's id was typed again."""
    user_id = user_of(request)
    if user_id is None:
        return wrong_user(request)
    storage = get_storage()
    with suppress(DamagedArchive):  # what is asked for is recorded anyway
        if pending := ledger.pending_of(storage.archive, user_id):
            return _to(pending.erasure_id)
    form = ConfirmedForm(request.POST or None, user_id=user_id)
    if not form.is_valid():
        status = 400 if form.is_bound else 200
        return page(
            request, "user/erase.html", "Erase a user", status=status, user_id=user_id, form=form
        )
    erasing.refuse(storage, user_id)  # or the log would have what was not begun
    auditing.record(
        request, Action.ERASURE_BEGUN, user_id=user_id, reason=form.cleaned_data["reason"]
    )
    erasure = ledger.request(storage.archive, user_id, _requested_by(request, user_id))
    return _to(erasing.begin(storage, erasure, REQUEST_SECONDS).erasure_id)


@require_safe
@guarded(ERASE)
def show_erasure(request: HttpRequest, erasure_id: str) -> HttpResponse:
    """How far an erasure is; its receipt once nobody can read anything of the user."""
    storage = get_storage()
    erasure = ledger.find(storage.archive, erasure_id)
    if erasure is None:
        require_archive(storage)
        return refused(request, "There is no such erasure. Is its id complete?", 404)
    record = erasure.as_record()
    return page(request, "user/erasure.html", "Erasure", erasure=record, **_times(record))


@require_POST
@guarded(ERASE)
def continue_erasure(request: HttpRequest, erasure_id: str) -> HttpResponse:
    """Go on with a pending erasure now, as cron does from time to time."""
    storage = get_storage()
    erasure = ledger.find(storage.archive, erasure_id)
    if erasure is not None and erasure.status == "pending":
        auditing.record(
            request,
            Action.ERASURE_CONTINUED,
            user_id=erasure.user_id or "",
            details={"erasure": erasure.erasure_id},
        )
        erasing.begin(storage, erasure, REQUEST_SECONDS)
    return _to(erasure_id)


def _times(record: dict[str, Any]) -> dict[str, Any]:
    """The times of the steps so far. The receipt has them as the API and the commands do."""
    given = {"requested_at": record["requested_at"], **(record["receipt"] or {})}
    return {
        name: datetime.fromisoformat(given[name])
        for name in ("requested_at", "removed_at", "scrubbed_at")
        if given.get(name)
    }


def _to(erasure_id: str) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:chat_erasure", args=[erasure_id]))


def _requested_by(request: HttpRequest, user_id: str) -> str:
    """Who asked, unless that names the user: a receipt does not say who it was."""
    name = request.user.get_username()
    return "staff" if accounts.names(name, user_id) else f"staff:{name}"
