"""What staff see of interactions, and that it comes from the Storage interface."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import urlencode

import pytest
from django.contrib.admin.utils import quote, unquote
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.encoding import iri_to_uri

from chat.admin import auditing, masking
from storage import get_storage
from storage.database import Database
from storage.exceptions import StorageUnavailable
from storage.models import AuditEntry, ChatInteraction

pytestmark = pytest.mark.every_backend(exhaustive=True)  # a few tests reach each operation

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
    start = datetime(2026, 11, 1, 23, tzinfo=UTC)
    interactions = [
        make_interaction(
            interaction_id=f"number-{number}",
            user_id=f"user-{number % 3}",
            message=f"message {number:03}.",
            response="" if number % 5 == 0 else "Yes.",
            model_used=f"model-{2 - number % 2}",
            input_tokens=number,
            output_tokens=0,
            created_at=start + timedelta(minutes=number),
        )
        for number in range(120)
    ]
    storage.create_interactions_sync(interactions)
    return interactions


def ids_of(response):
    return re.findall(r"/chatinteraction/([^/\"]+)/change/", response.content.decode())


def link(response, rel):
    found = re.search(rf'href="(\?[^"]*)" rel="{rel}"', response.content.decode())
    return found and LIST + found[1].replace("&amp;", "&")


def detail(interaction_id):
    return f"{LIST}{quote(interaction_id)}/change/"


def number(interaction_id):
    return int(interaction_id.removeprefix("number-"))


def walk(client, url, rel="next"):
    """The ids on each page from `url` on."""
    pages = []
    while url:
        response = client.get(url)
        assert response.status_code == 200
        pages.append([unquote(found) for found in ids_of(response)])
        url = link(response, rel)
    return pages


@pytest.mark.every_backend
def test_list_shows_all_newest_first_over_its_pages(staff, saved):
    pages = walk(staff, LIST)
    assert [number(each) for page in pages for each in page] == [*reversed(range(120))]
    assert [len(page) for page in pages] == [50, 50, 20]


@pytest.mark.every_backend
def test_way_back_shows_the_same_pages_although_others_arrive(
    staff, saved, storage, make_interaction
):
    first = staff.get(LIST)
    second = staff.get(link(first, "next"))
    third = staff.get(link(second, "next"))
    storage.create_interactions_sync([make_interaction(interaction_id=f"n{n}") for n in range(3)])
    back = walk(staff, link(third, "prev"), "prev")
    assert back == [[unquote(each) for each in ids_of(page)] for page in (second, first)]
    newest = re.search(r'href="([^"]*)">« Newest', third.content.decode())[1]
    assert ids_of(staff.get(LIST + newest))[:1] != ids_of(first)[:1]


def test_list_says_more_than_and_how_many(staff, saved):
    assert "More than 50 interactions" in staff.get(LIST).content.decode()
    assert "40 interactions" in staff.get(f"{LIST}?user_id=user-1").content.decode()
    end = staff.get(link(staff.get(link(staff.get(LIST), "next")), "next"))
    assert "No more interactions." in end.content.decode()


def test_full_page_that_is_the_last_has_no_older_one(staff, saved):
    response = staff.get(f"{LIST}?tokens_min=0&last_day=2026-11-01&first_day=2026-11-01")
    assert link(response, "next")
    storage = get_storage()
    for each in range(50, 120):
        storage.delete_interaction_sync(f"number-{each}")
    response = staff.get(LIST)
    assert link(response, "next") is None
    assert "50 interactions" in response.content.decode()


FILTERED = [
    ("user_id=user-1", lambda n: n % 3 == 1),
    ("model_used=model-2", lambda n: n % 2 == 0),
    ("answered=no", lambda n: n % 5 == 0),
    ("answered=yes", lambda n: n % 5 != 0),
    ("tokens_min=50&tokens_max=70", lambda n: 50 <= n <= 70),
    ("first_day=2026-11-02", lambda n: n >= 60),
    ("last_day=2026-11-01", lambda n: n < 60),
    (
        "user_id=user-1&model_used=model-2&answered=yes&first_day=2026-11-01&last_day=2026-11-01",
        lambda n: n % 3 == 1 and n % 2 == 0 and n % 5 != 0 and n < 60,
    ),
    ("user_id=nobody", lambda n: False),
    ("tier=archive", lambda n: False),
]


def test_filters_hold_on_every_page(staff, saved):
    for query, is_wanted in FILTERED:
        pages = walk(staff, f"{LIST}?{query}")
        found = [number(each) for page in pages for each in page]
        assert found == [each for each in reversed(range(120)) if is_wanted(each)], query


def test_a_model_with_spaces_around_its_name_is_another_one(staff, storage, make_interaction):
    for name in ("m", " m", "m "):
        storage.save_interaction_sync(make_interaction(interaction_id=f"of{name}", model_used=name))
    for name in ("m", " m", "m "):
        assert walk(staff, f"{LIST}?{urlencode({'model_used': name})}") == [[f"of{name}"]]


@pytest.mark.every_backend
def test_archived_interactions_stay_in_the_list_and_are_marked(staff, saved, settings):
    settings.RETENTION_HOT_DAYS = 1
    call_command("archive_interactions", verbosity=0)
    pages = walk(staff, f"{LIST}?first_day=2026-11-01&last_day=2026-11-02")
    assert [number(each) for page in pages for each in page] == [*reversed(range(120))]
    assert staff.get(LIST).content.decode().count(">archived<") == 50


def test_empty_list_says_so(staff, saved, storage):
    page = staff.get(f"{LIST}?user_id=nobody").content.decode()
    assert "No interactions with these filters." in page
    assert "new item" not in page


WRONG = {
    "unknown=1": "There is no filter “unknown”. The filters are: user_id, q,",
    "p=7": "There is no filter “p”",
    "tier=warm": "Choose one of: hot, archive; or leave it out.",
    "answered=maybe": "Choose one of: yes, no; or leave it out.",
    "tokens_min=-1": "Enter a whole number from 0 to",
    "tokens_max=" + "9" * 5000: "Enter a whole number from 0 to",
    "tokens_min=2&tokens_max=1": "Must not be less than the smallest number.",
    "first_day=01.11.2026": "Enter a day such as 2026-11-30.",
    "last_day=9999-12-31": "Enter a day such as 2026-11-30.",
    "first_day=2026-11-02&last_day=2026-11-01": "Must not be less than the first day.",
    "user_id=a&user_id=b": "“user_id” is given 2 times. Give it once.",
    "user_id=%00": "Null characters are not allowed.",
    "user_id=" + "a" * 256: "at most 255 characters",
    "interaction_id=a&user_id=b": "Leave the filters empty with it.",
    "cursor=spoilt": "That page is not of this list any more.",
    "trail=%3Cb%3E": "That page is not of this list any more.",
    "q=b-tree": "Searching in texts needs the permission to read them.",
}


def test_wrong_parameters_are_told_and_the_form_is_kept(staff, caplog):
    for query, told in WRONG.items():
        response = staff.get(f"{LIST}?{query}")
        assert response.status_code == (403 if query == "q=b-tree" else 400), query
        page = unescape(response.content.decode())
        assert told in page, query
        assert 'name="user_id"' in page
        assert query not in caplog.text, "it may be personal"


def test_cursor_of_one_user_does_not_page_through_another(staff, saved):
    cursor = re.search(r"cursor=([^&]+)", link(staff.get(LIST), "next"))[1]
    assert staff.get(f"{LIST}?user_id=user-1&cursor={cursor}").status_code == 400


def test_id_leads_to_its_conversation(staff, storage, make_interaction):
    storage.save_interaction_sync(make_interaction(interaction_id="a/b ü"))
    response = staff.get(LIST, {"interaction_id": "a/b ü"})
    assert response.status_code == 302
    assert response["Location"] == iri_to_uri(detail("a/b ü"))


@pytest.mark.every_backend
def test_id_that_is_not_there_says_so(staff, storage, make_interaction):
    storage.save_interaction_sync(make_interaction(interaction_id="gone"))
    storage.delete_interaction_sync("gone")
    page = staff.get(f"{LIST}?interaction_id=gone").content.decode()
    assert "There is no interaction with this id. It was deleted" in page


def test_texts_are_hidden_until_they_are_revealed(staff, saved):
    page = staff.get(LIST).content.decode()
    assert "message 119" not in page
    assert "12 characters, hidden" in page
    assert "you may not read them" in page
    reader = reader_of("user-1")
    page = reader.get(LIST).content.decode()
    assert "message 118." in page
    assert "message 119." not in page
    assert AuditEntry.objects.latest("pk").details["texts_shown"] is True


def test_text_without_words_is_told(staff):
    response = reader_of("ada").get(f"{LIST}?q=!!!&user_id=ada")
    assert response.status_code == 400
    assert "Must have a letter or a digit." in response.content.decode()


def test_text_without_an_index_is_told_in_the_words_of_the_form(staff, saved, storage, monkeypatch):
    monkeypatch.setattr(type(storage.database), "find_text", Database.find_text)
    response = reader_of("ada").get(f"{LIST}?q=word")
    page = unescape(response.content.decode())
    assert response.status_code == 400
    assert "Give a user, or the first and the last of at most 31 days, too" in page
    assert "created_after" not in page
    assert re.search(r"<details[^>]* open", page), "the days are there"


def reader_of(user_id):
    """A client of staff to whom the texts of a user are revealed."""
    user = User.objects.create_user("reader", is_staff=True)
    names = ("view_chatinteraction", "read_texts")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    request = RequestFactory().get("/")
    request.user, request.session = user, client.session
    masking.reveal(request, user_id, "", "a reason for this test")
    request.session.save()
    return client


def test_list_and_searches_are_in_the_audit_log_without_their_words(staff, saved):
    reader = reader_of("user-1")
    reader.get(LIST)
    reader.get(f"{LIST}?user_id=user-1&q=secret+words&tokens_min=3&first_day=2026-11-01")
    searched, listed = AuditEntry.objects.order_by("-pk")[:2]
    assert (listed.action, listed.staff) == ("listed", "reader")
    assert searched.action == "searched"
    assert searched.details["tokens_min"] == 3
    assert searched.details["first_day"] == "2026-11-01"
    assert searched.details["by_text"] is True
    assert "secret" not in str(searched.details)


def test_nothing_is_shown_that_is_not_in_the_audit_log(staff, saved, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise StorageUnavailable("The database did not answer.")

    monkeypatch.setattr(auditing, "record", fail)
    response = staff.get(LIST)
    assert response.status_code == 503
    assert ids_of(response) == []
    assert "The database did not answer." in caplog.text


def test_characters_that_turn_the_writing_around_are_shown(staff, storage, make_interaction):
    storage.save_interaction_sync(make_interaction(user_id="a\u202eb", message="<script>x\u202e"))
    page = staff.get(LIST).content.decode()
    assert "<bdi>a[U+202E]b</bdi>" in page
    assert f"{LIST}?user_id=" not in page
    assert ids_of(staff.get(LIST, {"user_id": "a\u202eb"}))


@pytest.mark.every_backend
def test_list_leads_to_every_conversation(staff, storage, make_interaction):
    names = ["a/b", "a_b", "ü #?%", "batch", "add"]
    storage.create_interactions_sync([make_interaction(interaction_id=name) for name in names])
    links = re.findall(rf'href="({LIST}[^"]+/change/)[^"]*"', staff.get(LIST).content.decode())
    assert len(set(links)) == len(names)
    for link_to_one in set(links):
        page = staff.get(link_to_one)
        assert page.status_code == 200, link_to_one
        assert "26 characters, hidden" in page.content.decode()


def test_unfinished_answer_is_told(staff, storage, make_interaction):
    storage.save_interaction_sync(make_interaction(interaction_id="open", response=""))
    assert "No answer yet." in staff.get(detail("open")).content.decode()


def test_unknown_conversation_leads_to_the_list_and_says_so(staff, saved):
    response = staff.get(detail("nobody"), follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "There is no interaction nobody" in response.content.decode()


def test_nothing_can_be_added_or_deleted(staff, saved):
    for page in ("add/", "number-1/delete/"):
        assert staff.get(LIST + page).status_code == 403
        assert staff.post(LIST + page).status_code == 403
    assert len(get_storage().get_user_interactions_sync("user-1", 100)) == 40


def test_posting_to_a_conversation_changes_nothing(staff, saved):
    staff.post(detail("number-1"), {"message": "forged", "response": "forged"})
    assert get_storage().get_interaction_sync("number-1").message == "message 001."


@pytest.mark.parametrize("kind", ["anonymous", "not staff", "staff without permission"])
def test_others_see_nothing(saved, kind):
    client = Client()
    if kind != "anonymous":
        client.force_login(User.objects.create_user("eve", is_staff=kind != "not staff"))
    for page in ("", "number-1/change/", "number-1/history/"):
        response = client.get(LIST + page)
        assert response.status_code in (302, 403)
        assert ids_of(response) == []


@pytest.mark.every_backend
@pytest.mark.parametrize("page", [LIST, f"{LIST}?user_id=user-1", detail("number-1")])
def test_pages_never_ask_the_orm_for_interactions(staff, saved, page):
    # LocalStorage does not go through Django's cursors, so what is captured is the ORM's.
    with CaptureQueriesContext(connection) as queries:
        assert staff.get(page).status_code == 200
    assert len(queries) > 0, "the session at least"
    table = ChatInteraction._meta.db_table
    assert [query["sql"] for query in queries if table in query["sql"]] == []


@pytest.mark.every_backend
@pytest.mark.parametrize("page", [LIST, detail("number-1")])
def test_store_that_does_not_answer_is_said_plainly(staff, storage, monkeypatch, page):
    def fail(*args, **kwargs):
        raise StorageUnavailable("The database did not answer.")

    monkeypatch.setattr(type(storage.database), "newest", fail)
    monkeypatch.setattr(type(storage.database), "read", fail)
    monkeypatch.setattr(type(storage.database), "read_stored", fail)
    monkeypatch.setattr(type(storage.database), "look_at", fail)
    response = staff.get(page)
    assert response.status_code == 503
    assert "did not answer" in response.content.decode()
