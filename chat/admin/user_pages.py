"""The page of a user: what there is, and what a member of staff can do."""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from chat import usage
from chat.admin import auditing
from chat.admin.erasures import continue_erasure, erase_user, show_erasure
from chat.admin.exports import export_user
from chat.admin.holds import hold_user, lift_hold, list_holds
from chat.admin.pages import page
from chat.admin.restoring import restore_day
from chat.admin.user_requests import VIEW, guarded, user_of, wrong_user
from chat.maintenance import holds
from chat.maintenance.erasure import ledger
from chat.maintenance.identity import require_archive
from storage import get_storage
from storage.accounts.audit_log import Action
from storage.records.searches import Search

NEWEST = 10
USAGE_DAYS = 30


def urls() -> list[URLPattern]:
    """The pages. The user's id is a query parameter, since it may contain anything."""
    return [
        path("user/", user, name="chat_user"),
        path("user/export/", export_user, name="chat_user_export"),
        path("user/erase/", erase_user, name="chat_user_erase"),
        path("user/hold/", hold_user, name="chat_user_hold"),
        path("user/lift/", lift_hold, name="chat_user_lift"),
        path("erasure/<str:erasure_id>/", show_erasure, name="chat_erasure"),
        path("erasure/<str:erasure_id>/continue/", continue_erasure, name="chat_erasure_continue"),
        path("holds/", list_holds, name="chat_holds"),
        path("restore/", restore_day, name="chat_restore"),
    ]


@require_safe
@guarded(VIEW)
def user(request: HttpRequest) -> HttpResponse:
    """The page of the user `user_id`."""
    user_id = user_of(request)
    if user_id is None:
        return wrong_user(request)
    storage = get_storage()
    auditing.record(request, Action.LISTED, user_id=user_id)
    require_archive(storage)  # without it there would seem to be no hold, and nothing cold
    found = storage.search_interactions_sync(
        Search(user_id=user_id, limit=NEWEST, whole_texts=False)
    )
    return page(
        request,
        "user/user.html",
        "User",
        user_id=user_id,
        records=found.interactions,
        has_more=found.next_cursor is not None,
        usage=_usage(user_id),
        usage_days=USAGE_DAYS,
        currency=settings.CURRENCY,
        hold=holds.find(storage.archive, "user", user_id),
        erasure=ledger.pending_of(storage.archive, user_id),
    )


def _usage(user_id: str) -> usage.Line:
    """The sums of the last days, of all models together."""
    today = datetime.now(UTC).date()
    first = today - timedelta(days=USAGE_DAYS - 1)
    question = usage.Question(first, today, ("user",), user_id=user_id)
    return usage.total(usage.report(question).lines)
