"""The navigation beside every page: what whoever is logged in may open, and nothing else."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client, RequestFactory

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


def test_the_list_of_models_is_made_once_for_a_page(transactional_db, monkeypatch):
    made = []
    build = admin.site._build_app_dict

    def counted(request, label=None):
        made.append(label)
        return build(request, label)

    monkeypatch.setattr(admin.site, "_build_app_dict", counted)
    client = Client()
    client.force_login(User.objects.create_superuser("grace"))
    assert client.get("/admin/").status_code == 200
    assert made == [None]


def test_who_changes_the_list_of_models_changes_no_other(transactional_db):
    request = RequestFactory().get("/admin/")
    request.user = User.objects.create_superuser("grace")
    first = admin.site.get_app_list(request)
    names = [len(app["models"]) for app in first]
    for app in first:
        app["models"] = []
    assert [len(app["models"]) for app in admin.site.get_app_list(request)] == names
