"""The navigation beside every page: what whoever is logged in may open, and nothing else."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

LIST = "/admin/storage/chatinteraction/"


@pytest.fixture
def navigation(transactional_db):
    """The titles in the navigation of staff with these permissions, the current one with a star."""

    def of(*codenames, path="/admin/"):
        user = User.objects.create_user(f"grace-{len(codenames)}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        page = client.get(path).content.decode()
        links = page.partition('id="nav-sidebar-apps"')[2].partition("nav-sidebar-user")[0]
        found = re.findall(r'<a href="[^"]*" class="([^"]*)">.*?<span>([^<]+)</span>', links, re.S)
        return [f"{title}*" if " active" in classes else title for classes, title in found]

    return of


def test_navigation_shows_what_may_be_opened(navigation):
    assert navigation() == ["Overview*", "API documentation"]
    assert navigation("view_chatinteraction", "hold_user", "restore_day") == [
        "Overview*",
        "Interactions",
        "Legal holds",
        "Archived days",
        "API documentation",
    ]


def test_page_below_another_is_the_current_one(navigation):
    found = navigation("view_chatinteraction", "hold_user", path=f"{LIST}holds/")
    assert found == ["Overview", "Interactions", "Legal holds*", "API documentation"]


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/api/docs/"])
def test_site_has_a_mark_and_leads_nowhere_else(transactional_db, path):
    client = Client()
    if path == "/admin/":
        client.force_login(User.objects.create_superuser("grace"))
    page = client.get(path).content.decode()
    assert "chat/mark.svg" in page
    assert "Chat interaction store" in page
    assert "Return to site" not in page
    assert "View site" not in page
