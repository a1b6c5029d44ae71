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
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import Truncator

from chat.admin.theme import ThemedModelAdmin
from storage import get_storage
from storage.exceptions import InvalidCursor, StorageError
from storage.models import ChatInteraction
from storage.records.pages import Page, PageQuery

if TYPE_CHECKING:
    BaseAdmin = admin.ModelAdmin[ChatInteraction]
else:
    BaseAdmin = ThemedModelAdmin

PAGE_SIZE = 50
PREVIEW_LENGTH = 80


class InteractionList(ChangeList):
    """Django's change list, showing a page of the storage instead of the results of a query."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> QuerySet[ChatInteraction]:
        """An unused query set; `get_results` asks the storage."""
        self.clear_all_filters_qs = self.get_query_string(remove=["q", "cursor"])
        return self.root_queryset

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page for the parameters `q` (a user id) and `cursor`."""
        page = self._page(request)
        self.result_list = page.interactions
        self.result_count = self.full_result_count = len(page.interactions)
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(page.interactions, PAGE_SIZE)
        self.newest_url = self.get_query_string(remove=["cursor"]) if self._cursor(request) else ""
        self.older_url = self.get_query_string({"cursor": page.next_cursor}, ["cursor"])
        if page.next_cursor is None:
            self.older_url = ""

    def _page(self, request: HttpRequest) -> Page:
        query = PageQuery(limit=PAGE_SIZE, cursor=self._cursor(request))
        if self.query:
            return get_storage().list_user_interactions_sync(self.query, query)
        return get_storage().list_interactions_sync(query)

    def _cursor(self, request: HttpRequest) -> str | None:
        return request.GET.get("cursor") or None


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
            return self._unavailable(request, error)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One interaction, as a conversation."""
        self._require_view_permission(request)
        interaction_id = unquote(object_id)
        try:
            interaction = get_storage().get_interaction_sync(interaction_id)
        except StorageError as error:
            return self._unavailable(request, error)
        if interaction is None:
            return self._unknown(request, interaction_id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Interaction",
            "subtitle": interaction.interaction_id,
            "interaction": interaction,
        }
        return TemplateResponse(request, "admin/storage/chatinteraction/conversation.html", context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The conversation view. There is no history, since nothing is changed here."""
        return self.change_view(request, object_id)

    def _require_view_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _unknown(self, request: HttpRequest, interaction_id: str) -> HttpResponse:
        messages.warning(request, f"There is no interaction {interaction_id}; was it deleted?")
        return HttpResponseRedirect(reverse("admin:storage_chatinteraction_changelist"))

    def _unavailable(self, request: HttpRequest, error: StorageError) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "The store did not answer",
            "error": str(error),
        }
        template = "admin/storage/chatinteraction/unavailable.html"
        return TemplateResponse(request, template, context, status=503)
