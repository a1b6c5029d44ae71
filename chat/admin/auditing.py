"""Writes what a member of staff does to the audit log."""

from typing import Any

from django.http import HttpRequest

from chat.api.addresses import address_of
from storage.accounts import audit_log
from storage.accounts.audit_log import Action


def record(request: HttpRequest, action: Action, **about: Any) -> None:
    """Append an entry about this request: `about` as in `storage.accounts.audit_log.record`.

    Call it before what it is about is done, or shown. Raises StorageError: then neither happens.
    """
    staff = request.user.get_username()
    audit_log.record(action, staff, address=address_of(request.META), **about)
