"""Legal holds in the admin: put one on a user, lift it, and see which there are."""

import hashlib
from datetime import UTC, datetime

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from chat.admin import auditing
from chat.admin.pages import page
from chat.admin.user_forms import ConfirmedForm, ReasonForm
from chat.admin.user_requests import guarded, refused, user_of, wrong_user
from chat.maintenance import holds
from chat.maintenance.holds import Hold
from chat.maintenance.identity import confirm_archive, require_archive
from chat.maintenance.runs import is_at_work
from storage import get_storage
from storage.accounts.audit_log import Action
from storage.interface import Storage

HOLD = "storage.hold_user"

SHOWN = 100
"""Holds on one page: each is a file that must be read."""


class _OfShownHold(forms.Form):
    """With the hold that the page has shown, if any: somebody else may put on another one."""

    hold = forms.CharField(required=False, widget=forms.HiddenInput)


class HoldForm(_OfShownHold, ReasonForm):
    """Why a user is held. It takes the place of an earlier reason."""


class LiftForm(_OfShownHold, ConfirmedForm):
    """Why a hold is lifted."""


@require_http_methods(["GET", "HEAD", "POST"])
@guarded(HOLD)
def hold_user(request: HttpRequest) -> HttpResponse:
    """Put a legal hold on a user, for a reason that `legal_hold list` shows."""
    user_id = user_of(request)
    if user_id is None:
        return wrong_user(request)
    storage = get_storage()
    confirm_archive(storage)  # one that is not mounted would seem to have no holds
    hold = holds.find(storage.archive, "user", user_id)
    shown = {"hold": _digest(hold)}
    form = HoldForm(request.POST or None, initial=shown)
    is_other = form.is_valid() and form.cleaned_data["hold"] != shown["hold"]
    if is_other and hold and hold.reason == form.cleaned_data["reason"]:
        return _in_place(request, storage, user_id)  # the form was sent twice
    if is_other:
        form = HoldForm(initial=shown)
    if is_other or not form.is_valid():
        return page(
            request,
            "user/hold.html",
            "Legal hold",
            status=409 if is_other else 400 if form.is_bound else 200,
            user_id=user_id,
            hold=hold,
            form=form,
            is_other=is_other,
        )
    reason = form.cleaned_data["reason"]
    auditing.record(request, Action.HELD, user_id=user_id, reason=reason)
    holds.add(storage.archive, Hold("user", user_id, reason, datetime.now(UTC)))
    return _in_place(request, storage, user_id)


@require_http_methods(["GET", "HEAD", "POST"])
@guarded(HOLD)
def lift_hold(request: HttpRequest) -> HttpResponse:
    """Lift the hold on a user. What is past the retention is deleted by the next purge."""
    user_id = user_of(request)
    if user_id is None:
        return wrong_user(request)
    storage = get_storage()
    confirm_archive(storage)
    hold = holds.find(storage.archive, "user", user_id)
    if hold is None:
        return refused(request, "There is no legal hold on this user.", 404)
    shown = {"hold": _digest(hold)}
    form = LiftForm(request.POST or None, user_id=user_id, initial=shown)
    is_other = form.is_valid() and form.cleaned_data["hold"] != shown["hold"]
    if is_other:
        form = LiftForm(user_id=user_id, initial=shown)
    if is_other or not form.is_valid():
        return page(
            request,
            "user/lift.html",
            "Lift a legal hold",
            status=409 if is_other else 400 if form.is_bound else 200,
            user_id=user_id,
            hold=hold,
            form=form,
            is_other=is_other,
        )
    auditing.record(request, Action.RELEASED, user_id=user_id, reason=form.cleaned_data["reason"])
    holds.lift(storage.archive, hold)
    messages.success(request, "The hold is lifted.")
    return _to_user(user_id)


@require_safe
@guarded(HOLD)
def list_holds(request: HttpRequest) -> HttpResponse:
    """The holds that there are."""
    if request.GET:
        return refused(request, "This page takes no parameters.", 400)
    storage = get_storage()
    require_archive(storage)  # without it there would seem to be no hold
    found, more = holds.some(storage.archive, SHOWN)
    return page(request, "user/holds.html", "Legal holds", holds=found, more=more)


def _in_place(request: HttpRequest, storage: Storage, user_id: str) -> HttpResponse:
    if is_at_work(storage):
        messages.warning(
            request,
            "The hold is in place. A maintenance run that began earlier is at work, and may not "
            "know of it: stop that run if it may delete what the hold protects.",
        )
    else:
        messages.success(request, "The hold is in place.")
    return _to_user(user_id)


def _digest(hold: Hold | None) -> str:
    if hold is None:
        return ""
    return hashlib.sha256(f"{hold.since} {hold.reason}".encode()).hexdigest()


def _to_user(user_id: str) -> HttpResponse:
    query = urlencode({"user_id": user_id})
    return HttpResponseRedirect(f"{reverse('admin:chat_user')}?{query}")
