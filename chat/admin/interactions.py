"""The admin of interactions. It is read-only and reads through the Storage interface.

The list is one page of the storage, and the detail view one read by id. So both cost the same
however much is stored, and work even if the interactions are not in the SQL database. They are
read-only because what was said cannot be changed later. Services delete interactions with the API.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.text import Truncator

from chat.admin import conversation, user_pages
from chat.admin.listing import PAGE_SIZE, InteractionList
from chat.admin.pages import unavailable
from chat.admin.theme import ThemedModelAdmin
from storage.exceptions import InvalidCursor, StorageError
from storage.models import ChatInteraction

if TYPE_CHECKING:
    BaseAdmin = admin.ModelAdmin[ChatInteraction]
else:
    BaseAdmin = ThemedModelAdmin

PREVIEW_LENGTH = 80


@admin.register(ChatInteraction)
class InteractionAdmin(BaseAdmin):
    """A list and a conversation view, for staff who may view interactions."""

    list_display = [
        "created",
        "user_id",
        "preview",
        "model_used",
        "input_tokens",
        "output_tokens",
    ]
    list_per_page = PAGE_SIZE
    sortable_by = ()
    actions = None
    search_fields = ["user_id"]
    search_help_text = "Enter a full user id to see only this user's interactions."
    change_list_template = "admin/storage/chatinteraction/change_list.html"

    @admin.display(description="created (UTC)")
    def created(self, interaction: ChatInteraction) -> str:
        """The time of creation, always with the same number of characters."""
        return f"{interaction.created_at:%Y-%m-%d\N{NO-BREAK SPACE}%H:%M}"

    @admin.display(description="message")
    def preview(self, interaction: ChatInteraction) -> str:
        """The start of the message."""
        return Truncator(interaction.message).chars(PREVIEW_LENGTH)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatInteraction]:
        """Empty on purpose, so that no part of Django reads interactions with the ORM."""
        return ChatInteraction.objects.none()

    def get_urls(self) -> list[URLPattern]:
        """The pages of users besides the list and the conversations."""
        pages = user_pages.urls()
        for each in pages:
            each.callback = self.admin_site.admin_view(each.callback)
        return [*pages, *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return InteractionList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list of interactions, newest first."""
        self._require_view_permission(request)
        try:
            return super().changelist_view(request, extra_context)
        except InvalidCursor:
            messages.warning(
                request, "That page is no longer valid. These are the newest interactions."
            )
            return HttpResponseRedirect(request.path)
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
