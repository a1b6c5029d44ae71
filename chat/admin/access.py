"""The admin of API keys, staff and groups."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey

from chat.admin.theme import ThemedModelAdmin
from storage.models import ApiKey

if TYPE_CHECKING:
    BaseAdmin = object
    BaseUserAdmin = UserAdmin[User]
else:
    BaseAdmin = ThemedModelAdmin
    BaseUserAdmin = UserAdmin

# The library's own key cannot be bound to a user; `ApiKey` replaces it.
admin.site.unregister(APIKey)
admin.site.unregister([User, Group])


@admin.register(ApiKey)
class ApiKeyAdmin(APIKeyModelAdmin, BaseAdmin):
    """Creates and revokes keys. A key is shown only once, when it is created."""

    list_display: tuple[str, ...] = (  # type: ignore[assignment]  # there are more
        "prefix",
        "name",
        "user_id",
        "may_erase",
        "created",
        "expiry_date",
        "revoked",
    )
    list_filter = ("revoked",)
    search_fields = ("name", "user_id")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The user of a key cannot be changed."""
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else (*fields, "user_id")


@admin.register(User)
class StaffAdmin(BaseUserAdmin, BaseAdmin):
    """Django's UserAdmin with the look of the rest."""


@admin.register(Group)
class StaffGroupAdmin(GroupAdmin, BaseAdmin):
    """Django's GroupAdmin with the look of the rest."""
