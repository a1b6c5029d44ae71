"""Rotating an API key: another one with the same rights, and a while in which both work."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from chat.admin.auditing import record
from chat.admin.pages import page
from storage.accounts import api_keys
from storage.accounts.audit_log import Action
from storage.models import ApiKey, AuditEntry

OVERLAPS = {"1": "1 hour", "24": "24 hours", "168": "7 days"}
"""For how many hours the old key still works."""

MayRotate = Callable[[HttpRequest, ApiKey], bool]


class RotationForm(forms.Form):
    """How long the old key goes on working."""

    overlap = forms.ChoiceField(
        choices=list(OVERLAPS.items()),
        initial="24",
        widget=forms.RadioSelect,
        label="The old key works for another",
    )
    alike = forms.IntegerField(widget=forms.HiddenInput)
    """How many keys like it there were when the page was opened. Sent twice, it makes one key."""


@require_http_methods(["GET", "HEAD", "POST"])
def rotate(request: HttpRequest, key_id: str, may_rotate: MayRotate) -> HttpResponse:
    """The page that asks for the overlap, and after that the page with the new key.

    Raises DatabaseError and StorageError.
    """
    with transaction.atomic():
        # SQLite has one writer anyway; in PostgreSQL another request waits for this row.
        api_key = ApiKey.objects.select_for_update().filter(pk=key_id).first()
        if api_key is None:
            raise Http404
        if not may_rotate(request, api_key):
            raise PermissionDenied
        alike = count_alike(api_key)
        form = RotationForm(request.POST or None, initial={"alike": alike})
        is_repeated = form.is_valid() and form.cleaned_data["alike"] != alike
        if is_repeated:
            form = RotationForm(initial={"alike": alike})
        elif form.is_valid():
            hours = int(form.cleaned_data["overlap"])
            return _rotated(request, api_key, timedelta(hours=hours))
    return page(
        request,
        "apikey/rotate.html",
        "Rotate an API key",
        opts=ApiKey._meta,
        api_key=api_key,
        form=form,
        is_repeated=is_repeated,
        status=409 if is_repeated else 400 if form.errors else 200,
    )


def count_alike(api_key: ApiKey) -> int:
    """The number of keys with the same name and rights, which a rotation adds one to."""
    fields = ("name", "user_id", "may_erase")
    return ApiKey.objects.filter(**{name: getattr(api_key, name) for name in fields}).count()


def _rotated(request: HttpRequest, old: ApiKey, overlap: timedelta) -> HttpResponse:
    now = timezone.now()
    new = ApiKey(name=old.name, user_id=old.user_id, may_erase=old.may_erase)
    new.expiry_date = _expiry(old, now)
    key = ApiKey.objects.assign_key(new)
    old.expiry_date = min(old.expiry_date or now + overlap, now + overlap)
    about = audit_of(new)
    about["details"] |= {"replaces": old.prefix, "overlap_hours": overlap // timedelta(hours=1)}
    record(request, Action.KEY_ROTATED, **about)
    new.save()
    old.save(update_fields=["expiry_date"])
    transaction.on_commit(api_keys.forget)
    return made(request, new, key, old)


def _expiry(old: ApiKey, now: datetime) -> datetime | None:
    """When a key expires that is made now and lives as long as an old one was meant to."""
    begin, end = _meant(old)
    if end is None:
        return None
    try:
        return now + (end - begin)
    except OverflowError:  # some write the year 9999 for never
        return end


def _meant(old: ApiKey) -> tuple[datetime, datetime | None]:
    """When the life of a key began that was meant for it, and its end.

    An earlier rotation has shortened its own, and the entry about that has the new one's. But not
    if staff have given it another end since, beyond the overlap.
    """
    entries = AuditEntry.objects.filter(action=Action.KEY_ROTATED, details__replaces=old.prefix)
    if old.expiry_date is not None and (first := entries.order_by("pk").first()):
        overlap = timedelta(hours=first.details["overlap_hours"])
        if old.expiry_date <= first.at + overlap:
            expires = first.details["expires"]
            return first.at, expires and datetime.fromisoformat(expires)
    return old.created, old.expiry_date


def audit_of(api_key: ApiKey) -> dict[str, Any]:
    """What the audit log says of a key: its prefix and what it may do, never its name."""
    expires = api_key.expiry_date and api_key.expiry_date.isoformat(timespec="seconds")
    details = {
        "prefix": api_key.prefix,
        "service_wide": not api_key.user_id,
        "may_erase": api_key.may_erase,
        "revoked": api_key.revoked,
        "expires": expires,
    }
    return {"user_id": api_key.user_id, "details": details}


def made(
    request: HttpRequest, api_key: ApiKey, key: str, old: ApiKey | None = None
) -> HttpResponse:
    """The page with a new key, which is shown once, and with the old one that it replaces."""
    return page(
        request,
        "apikey/made.html",
        "The new API key",
        opts=ApiKey._meta,
        api_key=api_key,
        key=key,
        old=old,
    )
