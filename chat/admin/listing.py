"""The list of interactions in the admin: a page of the storage."""

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from storage import get_storage
from storage.models import ChatInteraction
from storage.records.pages import Page, PageQuery

PAGE_SIZE = 50


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
