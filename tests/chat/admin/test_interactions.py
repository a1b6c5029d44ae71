"""What staff see of interactions, and that it comes from the Storage interface."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from storage import get_storage
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction

pytestmark = pytest.mark.every_backend

LIST = "/admin/storage/chatinteraction/"


@pytest.fixture
def staff(transactional_db):
    """Logged-in staff who may view interactions and nothing else."""
    user = User.objects.create_user("grace", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_chatinteraction"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def saved(storage, make_interaction):
    """120 interactions of three users, one a minute."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    interactions = [
        make_interaction(
            interaction_id=f"number-{number}",
            user_id=f"user-{number % 3}",
            message=f"message {number:03}.",
            created_at=start + timedelta(minutes=number),
        )
        for number in range(120)
    ]
    storage.create_interactions_sync(interactions)
    return interactions


def messages_of(response):
    return re.findall(r"message (\d{3})\.", response.content.decode())


def older_link(response):
    found = re.search(r'href="(\?[^"]+)" rel="next"', response.content.decode())
    return found and LIST + found.group(1).replace("&amp;", "&")


def detail(interaction_id):
    return f"{LIST}{quote(interaction_id)}/change/"


def test_list_shows_all_newest_first_over_its_pages(staff, saved):
    seen, url = [], LIST
    while url:
        response = staff.get(url)
        assert response.status_code == 200
        seen += messages_of(response)
        url = older_link(response)
    assert seen == [f"{number:03}" for number in reversed(range(120))]


def test_searching_a_user_shows_only_theirs_on_every_page(staff, saved):
    seen, url = [], f"{LIST}?q=user-1"
    while url:
        response = staff.get(url)
        seen += messages_of(response)
        url = older_link(response)
    assert seen == [f"{number:03}" for number in reversed(range(1, 120, 3))]


def test_unknown_user_is_an_empty_list(staff, saved):
    response = staff.get(f"{LIST}?q=nobody")
    assert response.status_code == 200
    assert messages_of(response) == []


def test_spoilt_cursor_leads_back_to_the_newest(staff, saved):
    response = staff.get(f"{LIST}?cursor=spoilt", follow=True)
    assert messages_of(response)[0] == "119"
    assert "no longer valid" in response.content.decode()


def test_cursor_of_one_user_does_not_page_through_another(staff, saved):
    cursor = re.search(r"cursor=([^&]+)", older_link(staff.get(LIST))).group(1)
    response = staff.get(f"{LIST}?q=user-1&cursor={cursor}")
    assert response.status_code == 302


@pytest.mark.parametrize("query", ["p=7", "o=1", "unknown=1", "all=1", "_popup=1", "q=%00"])
def test_odd_parameters_do_no_harm(staff, saved, query):
    assert staff.get(f"{LIST}?{query}").status_code in (200, 302)


def test_conversation_shows_texts_escaped(staff, storage, make_interaction):
    storage.save_interaction_sync(
        make_interaction(interaction_id="xss", response="<script>alert(1)</script>")
    )
    page = staff.get(detail("xss")).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page


@pytest.mark.parametrize("interaction_id", ["a/b", "a_b", "ü #?%", "batch", "add"])
def test_list_leads_to_every_conversation(staff, storage, make_interaction, interaction_id):
    storage.save_interaction_sync(make_interaction(interaction_id=interaction_id))
    link = re.search(rf'href="({LIST}[^"]+/change/)[^"]*"', staff.get(LIST).content.decode())
    page = staff.get(link.group(1))
    assert page.status_code == 200
    assert "A balanced tree for disks." in page.content.decode()


def test_unfinished_answer_is_told(staff, storage, make_interaction):
    storage.save_interaction_sync(make_interaction(interaction_id="open", response=""))
    assert "No answer yet." in staff.get(detail("open")).content.decode()


def test_unknown_conversation_leads_to_the_list_and_says_so(staff, saved):
    response = staff.get(detail("nobody"), follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "There is no interaction nobody" in response.content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("page", ["add/", "number-1/delete/"])
def test_nothing_can_be_added_or_deleted(staff, saved, page, method):
    assert getattr(staff, method)(LIST + page).status_code == 403
    assert len(get_storage().get_user_interactions_sync("user-1", 100)) == 40


def test_posting_to_a_conversation_changes_nothing(staff, saved):
    staff.post(detail("number-1"), {"message": "forged", "response": "forged"})
    assert get_storage().get_interaction_sync("number-1").message == "message 001."


@pytest.mark.parametrize("page", ["", "number-1/change/", "number-1/history/"])
@pytest.mark.parametrize("kind", ["anonymous", "not staff", "staff without permission"])
def test_others_see_nothing(saved, page, kind):
    client = Client()
    if kind != "anonymous":
        client.force_login(User.objects.create_user("eve", is_staff=kind != "not staff"))
    response = client.get(LIST + page)
    assert response.status_code in (302, 403)
    assert messages_of(response) == []


@pytest.mark.parametrize("page", [LIST, f"{LIST}?q=user-1", detail("number-1")])
def test_pages_never_ask_the_orm_for_interactions(staff, saved, page):
    # LocalStorage does not go through Django's cursors, so what is captured is the ORM's.
    with CaptureQueriesContext(connection) as queries:
        assert staff.get(page).status_code == 200
    assert len(queries) > 0, "the session at least"
    table = ChatInteraction._meta.db_table
    assert [query["sql"] for query in queries if table in query["sql"]] == []


@pytest.mark.parametrize("page", [LIST, detail("number-1")])
def test_store_that_does_not_answer_is_said_plainly(staff, storage, monkeypatch, page):
    def fail(*args, **kwargs):
        raise StorageUnavailable("The database did not answer.")

    monkeypatch.setattr(type(storage.database), "newest", fail)
    monkeypatch.setattr(type(storage.database), "read", fail)
    response = staff.get(page)
    assert response.status_code == 503
    assert "did not answer" in response.content.decode()
