"""The admin of staff and groups. Rights are given by superusers alone.

With Django's own forms, staff who may change users could make superusers of themselves, or set the
password of one.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from chat.admin.auditing import Audited, record
from chat.admin.opened_before import KeepsOthersChanges
from chat.admin.pages import unavailable
from chat.admin.theme import ThemedModelAdmin
from storage.accounts.audit_log import Action
from storage.exceptions import StorageError

if TYPE_CHECKING:
    BaseAdmin = object
    BaseUserAdmin = UserAdmin[User]
else:
    BaseAdmin = ThemedModelAdmin
    BaseUserAdmin = UserAdmin

admin.site.unregister([User, Group])

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")
"""The fields of a user that say what the user may do."""


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_superuser", False))


def own_password(request: HttpRequest) -> HttpResponse:
    """Django's page on which staff change their own password, if that is in the audit log, too."""
    view = admin.site.admin_view(admin.site.password_change, cacheable=True)
    is_staff = admin.site.has_permission(request)
    try:
        with transaction.atomic():
            response = view(request)
            if is_staff and request.method == "POST" and response.status_code == 302:
                details = {"account": request.user.get_username(), "fields": ["password"]}
                record(request, Action.STAFF_CHANGED, details={"change": "changed", **details})
            return response
    except StorageError as error:
        return unavailable(request, error)


@admin.register(User)
class StaffAdmin(KeepsOthersChanges, Audited, BaseUserAdmin, BaseAdmin):
    """Users. Whoever is no superuser changes only users without rights, and gives none."""

    audited_as = Action.STAFF_CHANGED

    def about(self, changed: Any) -> dict[str, Any]:
        """The account, and what it may do now."""
        names = ("is_active", "is_staff", "is_superuser")
        rights = [name for name in names if getattr(changed, name)]
        groups = sorted(changed.groups.values_list("name", flat=True))
        permissions = sorted(changed.user_permissions.values_list("codename", flat=True))
        details = {"rights": rights, "groups": groups, "permissions": permissions}
        # With the number: the name may be what was changed.
        return {"details": {"account": changed.get_username(), "number": changed.pk, **details}}

    def user_change_password(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Set another one's password, if that is in the audit log, too."""
        try:
            with transaction.atomic():
                return super().user_change_password(request, *args, **options)
        except StorageError as error:
            return unavailable(request, error)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The fields with rights, unless a superuser asks."""
        fields = (*super().get_readonly_fields(request, obj),)
        return fields if _is_superuser(request) else (*fields, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._is_theirs(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._is_theirs(request, obj)

    def _is_theirs(self, request: HttpRequest, user: Any) -> bool:
        """Whether the account of `user` gives nothing that whoever asks does not have."""
        if user is None or user == request.user or _is_superuser(request):
            return True
        # Of an account that is switched off, Django says that it has none: it may be switched on.
        switched_on = user if user.is_active else User(pk=user.pk)
        return not user.is_superuser and switched_on.get_all_permissions() <= (
            request.user.get_all_permissions()
        )


@admin.register(Group)
class StaffGroupAdmin(KeepsOthersChanges, Audited, GroupAdmin, BaseAdmin):
    """Groups. Whoever is no superuser cannot change what a group may do."""

    audited_as = Action.STAFF_CHANGED

    def about(self, changed: Any) -> dict[str, Any]:
        """The group, and what its members may do now."""
        permissions = sorted(changed.permissions.values_list("codename", flat=True))
        return {"details": {"group": changed.name, "permissions": permissions}}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The permissions, unless a superuser asks."""
        fields = (*super().get_readonly_fields(request, obj),)
        return fields if _is_superuser(request) else (*fields, "permissions")
