"""Writes what a member of staff does to the audit log."""

import logging
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import BadRequest
from django.db import DataError, connections, transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from chat.admin.pages import unavailable
from chat.api.addresses import address_of
from storage.accounts import audit_log
from storage.accounts.audit_log import Action
from storage.exceptions import StorageError
from storage.sql.errors import translated
from storage.sql.vendors import lock_until_commit

logger = logging.getLogger(__name__)


def record(request: HttpRequest, action: Action, **about: Any) -> None:
    """Append an entry about this request: `about` as in `storage.accounts.audit_log.record`.

    Call it before what it is about is done, or shown. Raises StorageError: then neither happens.
    """
    staff = request.user.get_username()
    audit_log.record(action, staff, address=address_of(request.META), **about)


@receiver(user_logged_out)
def _logged_out(request: HttpRequest, user: Any, **about: Any) -> None:
    """Whoever wants to log out must be able to, whatever has become of the log."""
    if user is None:
        return
    request.session.flush()  # first: if the database is locked, one wait for it is enough
    try:
        address = address_of(request.META)
        audit_log.record(Action.LOGGED_OUT, user.get_username(), address=address)
    except StorageError as error:
        logger.warning("A logout is not in the audit log: %s", error)


class OrUnavailable:
    """For a ModelAdmin: if the database does not answer, a page says so."""

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        return self._or_unavailable(super().changeform_view, request, *args, **options)  # type: ignore[misc]

    def delete_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        return self._or_unavailable(super().delete_view, request, *args, **options)  # type: ignore[misc]

    def changelist_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        return self._or_unavailable(super().changelist_view, request, *args, **options)  # type: ignore[misc]

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **rest: Any) -> Any:
        """What is done to several objects of the list is done to all of them, or to none."""
        with transaction.atomic(queryset.db):
            # First the objects, then the audit log, as who changes one: or both wait for each other
            self._lock(request.POST.getlist(ACTION_CHECKBOX_NAME))
            return super().response_action(request, queryset, *args, **rest)  # type: ignore[misc]

    def _lock(self, chosen: list[str]) -> None:
        rows = self.model.objects.select_for_update()  # type: ignore[attr-defined]
        try:
            list(rows.filter(pk__in=chosen).order_by("pk").values_list("pk"))
        except (ValueError, OverflowError):
            raise BadRequest("What was chosen can be in no list.") from None

    def _or_unavailable(self, view: Any, request: HttpRequest, *args: Any, **options: Any) -> Any:
        try:
            with translated:
                return view(request, *args, **options)
        except StorageError as error:
            if isinstance(error.__cause__, DataError):  # a value in the address: no outage
                raise error.__cause__ from None
            return unavailable(request, error)


class OneAtATime(OrUnavailable):
    """For a ModelAdmin: whoever adds, changes or deletes an object waits for others who do.

    Otherwise the form of one would take back what another has saved meanwhile: that a key is
    revoked. SQLite, with its one writer, needs and knows no such lock.
    """

    def get_queryset(self, request: HttpRequest) -> Any:
        """The objects, as others have left them."""
        rows = super().get_queryset(request)  # type: ignore[misc]
        is_change = request.method == "POST" and connections[rows.db].in_atomic_block
        return rows.select_for_update() if is_change else rows

    def get_form(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        """The form. What another has added is there when it is checked."""
        if obj is None and request.method == "POST":
            lock_until_commit(f"adding {self.opts.label}")  # type: ignore[attr-defined]
        return super().get_form(request, obj, **options)  # type: ignore[misc]


class Audited(OneAtATime):
    """For a ModelAdmin: its changes take place if they are in the audit log, too.

    Subclasses say in `audited_as` and `about` what is written. Django calls the methods below in
    the transaction of the change.
    """

    audited_as: Action

    def about(self, changed: Any) -> dict[str, Any]:
        """What the entry says of an object, besides what was done: `record`'s arguments."""
        raise NotImplementedError

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record(request, obj, "added", message)
        return super().log_addition(request, obj, message)  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record(request, obj, "changed", message)
        return super().log_change(request, obj, message)  # type: ignore[misc]

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self._record(request, obj, "deleted", [])
        return super().log_deletions(request, queryset)  # type: ignore[misc]

    def _record(self, request: HttpRequest, obj: Any, how: str, message: Any) -> None:
        about = self.about(obj)
        details = {"change": how, "fields": _fields(message), **about.pop("details", {})}
        record(request, self._action(how, details), details=details, **about)

    def _action(self, how: str, details: dict[str, Any]) -> Action:
        return self.audited_as


def _fields(message: Any) -> list[str]:
    """The fields in a message of Django's admin: `[{"changed": {"fields": [...]}}]`."""
    if not isinstance(message, list):
        return []
    return [
        str(field) for part in message for what in part.values() for field in what.get("fields", [])
    ]
