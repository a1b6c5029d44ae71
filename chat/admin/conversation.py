"""One interaction in the admin, as a conversation.

A text is shown as `chat.admin.masking` allows, in parts of a bounded size, and never before the
audit log has an entry about it. No text is in a title, a message or the session.
"""

import functools
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import content_disposition_header

from chat.admin import auditing, masking, panels
from chat.admin.facts import facts
from chat.admin.pages import page
from chat.admin.rows import visible
from chat.admin.turns import turns
from chat.revealed import REVEALED_SECONDS
from storage import get_storage
from storage.accounts.audit_log import Action
from storage.records.json import Record, dumps, from_record

TEMPLATE = "chatinteraction/conversation.html"
LIST = "admin:storage_chatinteraction_changelist"

VIEWS = {"text": "Text", "raw": "As written", "json": "JSON"}
DOWNLOAD = "download"


class InvalidParameters(ValueError):
    """What is wrong with the query parameters, for whoever has sent them."""


def show(request: HttpRequest, interaction_id: str) -> HttpResponse:
    """The page of an interaction, or a part of it. POST reveals its texts. Raises StorageError."""
    if request.method not in ("GET", "HEAD", "POST"):
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    # Asked once: what was not fetched must not be shown.
    may_see_of = functools.cache(functools.partial(masking.may_see, request))
    record = get_storage().read_record(interaction_id, lambda row: may_see_of(row["user_id"]))
    if record is None:
        messages.warning(request, f"There is no interaction {interaction_id}; was it deleted?")
        return HttpResponseRedirect(reverse(LIST))
    if request.method == "POST" and not masking.may_reveal(request):
        raise PermissionDenied
    may_see = may_see_of(record["user_id"])
    try:
        view, part = _asked(request)
        if request.method == "POST":
            return _reveal(request, record, may_see)
        if view == DOWNLOAD:
            return _download(request, record, may_see)
        return _shown(request, record, view, part, may_see=may_see)
    except InvalidParameters as error:
        template = "chatinteraction/conversation_refused.html"
        return page(request, template, "The page cannot be shown", status=400, error=str(error))


def _asked(request: HttpRequest) -> tuple[str, int]:
    """The view and the number of the part that are asked for. Raises InvalidParameters."""
    if unknown := sorted(set(request.GET) - {"view", "part"}):
        names = ", ".join(map(visible, unknown))[:200]
        raise InvalidParameters(f"Unknown parameter: {names}. The page takes view and part.")
    if repeated := sorted(name for name, values in request.GET.lists() if len(values) > 1):
        raise InvalidParameters(f"Give {' and '.join(repeated)} once.")
    view, part = request.GET.get("view", "text"), request.GET.get("part", "1")
    if view not in (*VIEWS, DOWNLOAD):
        raise InvalidParameters(f"view must be one of {', '.join((*VIEWS, DOWNLOAD))}.")
    if not (part.isascii() and part.isdecimal() and 1 <= len(part) <= 4 and int(part)):
        raise InvalidParameters("part must be a whole number from 1 on.")
    return view, int(part)


def _reveal(request: HttpRequest, record: Record, may_see: bool) -> HttpResponse:
    form = masking.RevealForm(request.POST)
    if not form.is_valid():
        return _shown(request, record, "text", 1, may_see=may_see, form=form, status=400)
    reason = form.cleaned_data["reason"]
    masking.reveal(request, record["user_id"], record["interaction_id"], reason)
    return HttpResponseRedirect(request.get_full_path())


def _shown(
    request: HttpRequest,
    record: Record,
    view: str,
    part: int,
    *,
    may_see: bool,
    form: masking.RevealForm | None = None,
    status: int = 200,
) -> HttpResponse:
    shown = panels.panels(record, view, part, is_masked=not may_see)
    if shown is None:
        raise InvalidParameters("There is no such part: the texts are shorter.")
    _audit(request, Action.READ, record, view=view, part=part, texts=may_see)
    interaction = from_record(record)
    return page(
        request,
        TEMPLATE,
        "Interaction",
        status=status,
        subtitle=visible(interaction.interaction_id),
        interaction=interaction,
        shown=shown,
        facts=facts(interaction, record),
        turns=turns(interaction, may_see=may_see),
        view=view,
        views=VIEWS,
        may_see=may_see,
        may_reveal=masking.may_reveal(request),
        reveal_minutes=REVEALED_SECONDS // 60,
        form=form or masking.RevealForm(),
    )


def _download(request: HttpRequest, record: Record, may_see: bool) -> HttpResponse:
    if not masking.may_reveal(request):
        raise PermissionDenied
    if not may_see:
        messages.warning(request, "Reveal the texts before you download them.")
        return HttpResponseRedirect(request.path)
    _audit(request, Action.EXPORTED, record, view=DOWNLOAD)
    name = content_disposition_header(True, f"{record['interaction_id']}.json")
    headers = {"Content-Disposition": name} if name else {}
    return HttpResponse(dumps(record), content_type="application/json", headers=headers)


def _audit(request: HttpRequest, action: Action, record: Record, **details: Any) -> None:
    auditing.record(
        request,
        action,
        user_id=record["user_id"],
        interaction_id=record["interaction_id"],
        details=details,
    )
