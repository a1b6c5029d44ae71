"""The page Intake: what tools sent, why some is not stored, and who may see it."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat.ingest import counts
from chat.ingest.reasons import Reason
from storage.accounts import intake
from storage.accounts.intake import Count
from storage.exceptions import StorageUnavailable
from tests.chat.ingest.taken import taken

pytestmark = pytest.mark.every_backend(exhaustive=True)  # counts are in the SQL database

PAGE = "/admin/storage/intakecount/"


def with_permissions(*names):
    user = User.objects.create_user("grace", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def staff(transactional_db):
    """Logged-in staff who may view the intake and nothing else."""
    return with_permissions("view_intakecount")


def counted(source, hours_ago=0, **outcomes):
    at = timezone.now() - timedelta(hours=hours_ago)
    hour = intake.hour_of(at)
    intake.add([Count(hour, source, outcome, count, at) for outcome, count in outcomes.items()])


def text_of(response):
    """What the page says, without the chrome around it."""
    assert response.status_code == 200
    page = response.content.decode().partition('<div class="intake">')[2]
    words = re.sub(r"<[^>]+>", " ", page)
    return " ".join(unescape(words).split())


def test_it_shows_what_came_was_kept_known_and_left_out(staff, hours):
    counts.record("otlp", taken(1200, 30, no_text=4, no_call=50))
    hours.flush()
    text = text_of(staff.get(PAGE))
    assert "OpenTelemetry Last at " in text
    assert "Received 1,284 Kept 1,200 Known already 30 Left out 54" in text
    assert "4 No text The tool sent no text." in text
    assert text.index("4 No text") < text.index("50 No call"), "what can be put right comes first"


def test_a_remedy_can_be_copied_as_it_is_to_be_pasted(staff):
    counted("otlp", received=1, no_text=1)
    page = staff.get(PAGE).content.decode()
    (code,) = re.findall(r"<pre><code>(.*?)</code></pre><button[^>]* data-copy", page, re.DOTALL)
    assert code == "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY"


def test_each_reason_that_is_counted_is_shown_with_its_remedy(staff):
    counted("otlp", received=1, **{reason.label: 1 for reason in Reason})
    text = text_of(staff.get(PAGE))
    assert [reason for reason in Reason if reason.remedy not in text] == []


def test_the_source_that_was_heard_of_last_comes_first(staff):
    counted("otlp", received=1)
    counted("litellm", received=1)
    text = text_of(staff.get(PAGE))
    assert text.index("LiteLLM proxy") < text.index("OpenTelemetry")


PERIODS = {
    "?hours=1": 1,
    "?hours=24": 3,
    "": 3,
    "?hours=168": 7,
    "?hours=720": 15,
    "?hours=5": 3,
    "?hours=-1": 3,
    "?hours=%00": 3,
    "?hours=24&hours=x": 3,
    "?unknown=1": 3,
}


def test_a_period_shows_what_came_within_it(staff):
    for hours_ago, count in ((0, 1), (20, 2), (100, 4), (500, 8), (750, 16)):
        counted("otlp", hours_ago, received=count)
    for query, received in PERIODS.items():
        assert f"Received {received} " in text_of(staff.get(PAGE + query)), query


def test_the_chosen_period_is_marked(staff):
    page = staff.get(f"{PAGE}?hours=168").content.decode()
    assert re.findall(r'<a href="\?hours=(\d+)" aria-current="page">', page) == ["168"]


def test_where_nothing_came_yet_it_says_how_to_connect_a_tool(staff):
    text = text_of(staff.get(PAGE))
    assert "Nothing has come in yet" in text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://testserver/api/otlp" in text
    assert "docs/how-to/connect/" in text
    assert "Ask for an API key" in text


@pytest.mark.parametrize("reads", [False, True])
def test_only_who_may_make_keys_is_led_there(transactional_db, reads):
    """The role Operator may add keys, but makes none without the right to read with them."""
    reading = ["view_chatinteraction", "read_texts"] if reads else []
    client = with_permissions("view_intakecount", "add_apikey", *reading)
    form = "/admin/storage/apikey/add/"
    page = client.get(PAGE).content.decode().partition('<div class="intake">')[2]
    assert (f'href="{form}"' in page) == (client.get(form).status_code == 200) == reads


def test_where_nothing_came_lately_it_says_when_the_last_came(staff):
    counted("otlp", 200, received=1)
    text = text_of(staff.get(PAGE))
    assert "Nothing came since" in text
    assert f"The last came at {timezone.now() - timedelta(hours=200):%-d %B %Y}" in text


def test_sources_and_reasons_of_another_version_are_shown_escaped(staff):
    counted("<script>", received=1, **{"<b>new": 2})
    page = staff.get(PAGE).content.decode()
    assert "&lt;script&gt;" in page
    assert "<b>new" not in page


def test_it_costs_the_same_queries_however_much_has_come(staff):
    staff.get(PAGE)

    def queries():
        with CaptureQueriesContext(connection) as captured:
            staff.get(f"{PAGE}?hours=720")
        return len(captured)

    counted("otlp", received=1)
    before = queries()
    for hours_ago in range(0, 700, 7):
        for source in ("otlp", "langfuse", "litellm"):
            counted(source, hours_ago, received=1, kept=1, no_text=1, no_user=1)
    assert queries() == before
    assert before <= 6, "the session, the user, permissions, and one of the page"


def test_the_index_of_the_hours_is_used(transactional_db):
    with connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN QUERY PLAN SELECT source, SUM(count) FROM storage_intakecount"
            " WHERE hour >= '2026' GROUP BY source, outcome"
        )
        assert "SEARCH" in str(cursor.fetchall())


ROLES = {
    "anonymous": (None, (), 302),
    "not staff": ({}, ("view_intakecount",), 302),
    "staff without permission": ({"is_staff": True}, ("view_chatinteraction",), 403),
    "staff who may": ({"is_staff": True}, ("view_intakecount",), 200),
    "superuser": ({"is_staff": True, "is_superuser": True}, (), 200),
}


@pytest.mark.parametrize("role", ROLES)
def test_who_may_see_it(transactional_db, role):
    counted("otlp", received=1)
    fields, permissions, status = ROLES[role]
    client = Client()
    if fields is not None:
        user = User.objects.create_user("eve", **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
    assert client.head(PAGE).status_code == status
    assert client.post(PAGE).status_code == (302 if status == 302 else 405)
    response = client.get(PAGE)
    assert response.status_code == status
    assert ("OpenTelemetry" in response.content.decode()) == (status == 200)


def test_there_is_no_other_page_and_nothing_can_be_changed(transactional_db):
    counted("otlp", received=1)
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    for page in ("1/change/", "1/delete/", "1/history/", "1/", "add/"):
        assert client.post(PAGE + page, {"count": "7", "post": "yes"}).status_code == 404
        assert client.get(PAGE + page).status_code == 404
    assert intake.totals(timezone.now() - timedelta(hours=2))[0].count == 1


def test_the_index_of_the_admin_leads_to_it(staff):
    assert f'href="{PAGE}"' in staff.get("/admin/").content.decode()


def test_a_database_that_does_not_answer_is_said_plainly(staff, monkeypatch, caplog):
    def fail(since):
        raise StorageUnavailable("The database did not answer.")

    monkeypatch.setattr(intake, "totals", fail)
    response = staff.get(PAGE)
    assert response.status_code == 503
    assert "did not answer" in response.content.decode()
    assert "The database did not answer." in caplog.text


@pytest.mark.every_backend
def test_what_a_tool_sends_is_on_the_page(client, staff, hours):
    response = client.post(
        "/api/otlp/v1/traces", b'{"resourceSpans": [', content_type="application/json"
    )
    assert response.status_code == 400
    hours.flush()
    assert "Received 1 Kept 0 Known already 0 Left out 1 1 Unreadable" in text_of(staff.get(PAGE))
