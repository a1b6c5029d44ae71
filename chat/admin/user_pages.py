"""What staff can do for one user: see what there is, export, erase, and put on a legal hold."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from chat.admin.pages import page

VIEW = "storage.view_chatinteraction"


def urls() -> list[URLPattern]:
    """The pages. The user's id is a query parameter, since it may contain anything."""
    return [path("user/", user, name="chat_user")]


def user(request: HttpRequest) -> HttpResponse:
    """The page of the user `user_id`."""
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    user_id = request.GET.get("user_id", "")
    return page(request, "user/user.html", "User", subtitle=user_id, user_id=user_id)
