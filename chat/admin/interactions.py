"""The admin of interactions. It is read-only and reads through the Storage interface.

The list is one search of the storage, and the detail view one read by id. So both cost the same
however much is stored, and work even if the interactions are not in the SQL database. They are
read-only because what was said cannot be changed later. Services delete interactions with the API.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from chat.admin import conversation, listing, user_pages
from chat.admin.pages import unavailable
from chat.admin.theme import ThemedModelAdmin
from storage.exceptions import StorageError
from storage.models import ChatInteraction

if TYPE_CHECKING:
    BaseAdmin = admin.ModelAdmin[ChatInteraction]
else:
    BaseAdmin = ThemedModelAdmin


@admin.register(ChatInteraction)
class InteractionAdmin(BaseAdmin):
    """A list and a conversation view, for staff who may view interactions."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatInteraction]:
        """Empty on purpose, so that no part of Django reads interactions with the ORM."""
        return ChatInteraction.objects.none()

    def get_urls(self) -> list[URLPattern]:
        """The pages of users besides the list and the conversations."""
        pages = user_pages.urls()
        for each in pages:
            each.callback = self.admin_site.admin_view(each.callback)
        return [*pages, *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @method_decorator(require_safe)
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list of interactions, newest first."""
        self._require_view_permission(request)
        try:
            return listing.show(request)
        except StorageError as error:
            return unavailable(request, error)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One interaction, as a conversation."""
        self._require_view_permission(request)
        try:
            return conversation.show(request, unquote(object_id))
        except StorageError as error:
            return unavailable(request, error)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The conversation view. There is no history, since nothing is changed here."""
        return self.change_view(request, object_id)

    def _require_view_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
