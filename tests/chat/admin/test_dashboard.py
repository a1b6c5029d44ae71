"""The first page: usage from roll-ups, and whether the store is well."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat import operations, usage
from chat.admin import dashboard
from storage import get_storage
from storage.accounts import intake
from storage.accounts.intake import Count
from storage.exceptions import StorageUnavailable
from storage.models import ModelPrice
from storage.records.runs import Ended
from tests.chat.usage_rows import priced, today, used

pytestmark = pytest.mark.every_backend(exhaustive=True)  # usage is in the SQL database

PAGE = "/admin/"
NUMBERS = ("view_usageofmodel",)
ALL = ("view_usageofmodel", "view_chatinteraction", "view_intakecount", "add_modelprice")


def staff_with(*permissions):
    user = User.objects.create_user(f"grace-{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def staff(storage):
    return staff_with(*ALL)


def text_of(response):
    """What is to be read, without tags and with single spaces."""
    page = re.sub(r"<(script|style).*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_sums_costs_and_shares_of_the_period(staff):
    used(0, "model-1", {"ada": (3, 1_000_000, 2_000_000)}, answered=False)
    used(6, "model-1", {"eve": (9, 1_000_000, 0)})
    used(7, "model-1", {"eve": (100, 5, 5)})
    priced("model-1", 3, "2", "3")
    priced("model-1", 1000, "1", "1")
    text = text_of(staff.get(f"{PAGE}?days=7"))
    assert "Interactions 12 Input tokens 2,000,000 Output tokens 2,000,000" in text
    assert "Cost 9.00 USD Unanswered 3 25.0 %" in text
    assert "Interactions 112 " in text_of(staff.get(PAGE)), "30 days are the default"


def test_little_is_not_shown_as_nothing(staff):
    used(0, "model-1", {"ada": (1, 1, 1)}, answered=False)
    used(1, "model-1", {"ada": (4_000, 0, 0)})
    priced("model-1")
    text = text_of(staff.get(PAGE))
    assert "Cost &lt; 0.01 USD Unanswered 1 &lt; 0.1 %" in text


def test_the_size_is_that_of_all_files(staff, monkeypatch):
    sizes = {"bytes": 4096, "log bytes": 16_000_000, "search index bytes": 777_216}
    described = {"file": "x", "free bytes": 2**30, **sizes}
    monkeypatch.setattr(type(get_storage().database), "describe", lambda self: described)
    assert "Database, on disk 16.0" in text_of(staff.get(PAGE)), "all may be in the log yet"


def test_a_changed_price_is_the_price_of_the_past(staff):
    used(6, "model-1", {"ada": (1, 1_000_000, 0)})
    priced("model-1", 1000, "1")
    assert "Cost 1.00 USD" in text_of(staff.get(PAGE))
    ModelPrice.objects.update(input_price="1234.5")
    assert "Cost 1,234.50 USD" in text_of(staff.get(PAGE))


def test_a_model_without_a_price_is_said_never_counted_as_free(staff):
    used(0, "model-1", {"ada": (3, 1_000_000, 0)})
    used(0, "<b>&new", {"ada": (4, 1, 1)})
    assert "Cost \N{EN DASH} Unanswered" in text_of(staff.get(PAGE))
    priced("model-1")
    response = staff.get(PAGE)
    assert "No price for &lt;b&gt;&amp;new : 4 interactions are in no cost." in text_of(response)
    link = re.search(r'href="(/admin/storage/modelprice/add/[^"]*)"', response.content.decode())
    form = staff.get(link.group(1)).content.decode()
    assert 'value="&lt;b&gt;&amp;new"' in form, "the form has the name already"


def test_of_many_models_without_a_price_those_that_are_used_most_are_named(staff):
    """A client may send a new name with each interaction."""
    for number in range(25):
        used(0, f"model-{number:02}", {"ada": (1, number, 0)})
    page = staff.get(PAGE)
    named = re.findall(r"modelprice/add/\?model_used=model-(\d+)", page.content.decode())
    assert [int(number) for number in named] == [*range(24, 4, -1)]
    assert "model-05 and 5 more: 25 interactions are in no cost." in text_of(page)


def test_behind_each_plot_are_its_numbers(staff):
    used(0, "model-1", {"ada": (1200, 5, 7)})
    used(2, "model-2", {"ada": (34, 1, 1)})
    page = staff.get(f"{PAGE}?days=7").content.decode()
    table = re.search(r"Interactions a day.*?</table>", page, re.DOTALL).group()
    cells = [re.findall(r">([^<>]+)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", table)]
    assert cells[0] == ["Day", "model-1", "model-2", "Sum"]
    assert len(cells) == 8
    assert cells[1] == [f"{today():%-d %b %Y}", "1,200", "0", "1,200"]
    assert cells[3][1:] == ["0", "34", "34"]
    assert "Tokens a day" in page
    assert "Cost a day" not in page, "nothing has a price"


def test_in_the_table_of_costs_little_is_not_nothing_and_no_price_is_not_free(staff):
    used(0, "model-1", {"ada": (1200, 5, 7)})
    used(0, "unpriced", {"ada": (3, 1, 1)})
    used(1, "unpriced", {"ada": (34, 1, 1)})
    used(2, "model-1", {"ada": (1, 1_000_000, 0)})
    priced("model-1")
    page = staff.get(f"{PAGE}?days=7").content.decode()
    table = re.search(r"Cost a day.*?</table>", page, re.DOTALL).group()
    rows = [re.findall(r">([^<>]+)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", table)]
    unknown = "\N{EN DASH}"
    assert [row[1:] for row in rows[:5]] == [
        ["model-1", "unpriced", "Sum"],
        ["&lt; 0.01", unknown, "&lt; 0.01"],
        [unknown] * 3,
        ["1.00", unknown, "1.00"],
        [unknown] * 3,
    ]


def test_many_models_are_told_apart_up_to_a_number_and_the_rest_is_summed(staff):
    for number in range(10):
        used(0, f"model-{number}", {"ada": (1 + number, 100 - number, 0)})
    page = staff.get(f"{PAGE}?days=7").content.decode()
    assert "3 other models" in page
    assert "<td>27</td><td>55</td></tr>" in page, "8 + 9 + 10 of the others, and all"


def test_one_model_can_be_chosen(staff):
    used(0, "model-1", {"ada": (1, 5, 7)})
    used(0, "model 2&3", {"eve": (34, 1, 1)})
    response = staff.get(PAGE, {"model": "model 2&3", "days": "7"})
    text = text_of(response)
    assert "Interactions 34 " in text
    assert "ada" not in text.partition("Top users")[2]
    assert "days=90&amp;model=model+2%263" in response.content.decode(), "it stays chosen"
    assert "Nothing was saved in this period with this model." in text_of(
        staff.get(PAGE, {"model": "gone"})
    )


def test_top_users_have_their_sums_and_lead_to_their_pages(staff):
    for number in range(3):
        used(number, "model-1", {"ada": (1, 10, 10), "a/b&c": (5, 100, 100)})
    used(0, "model-2", {"ada": (7, 500, 500)})
    response = staff.get(PAGE)
    top = text_of(response).partition("Top users")[2]
    assert "ada 10 1,060 \N{EN DASH} a/b&amp;c 15 600 \N{EN DASH}" in top
    assert 'user/?user_id=a%2Fb%26c"' in response.content.decode()


WRONG = {
    "days=8": "days must be 7, 30, 90.",
    "days=": "days must be",
    "day=7": "Unknown: day. The parameters are days and model.",
    "days=7&days=30": "Give days once.",
    "model=a%00b": "model must not contain the character NUL",
    "<b>=1": "Unknown: &lt;b&gt;.",
}


def test_what_is_no_parameter_of_the_page_is_said_plainly(staff):
    for query, part in WRONG.items():
        response = staff.get(f"{PAGE}?{query}")
        assert response.status_code == 400, query
        assert part in text_of(response)


@pytest.mark.every_backend
def test_an_empty_store_says_how_to_send_the_first(staff):
    text = text_of(staff.get(PAGE))
    assert "No interactions yet" in text
    assert "curl http://testserver/api/v1/interactions/" in text


@pytest.mark.parametrize("reads", [False, True])
def test_an_empty_store_leads_to_a_new_key_only_who_may_make_one(storage, reads):
    reading = ["view_chatinteraction", "read_texts"] if reads else []
    page = staff_with(*NUMBERS, "add_apikey", *reading).get(PAGE).content.decode()
    store = page.partition("No interactions yet")[2]
    assert ('href="/admin/storage/apikey/add/"' in store.partition("</section>")[0]) == reads


def test_it_says_up_to_when_it_is_counted_or_that_it_is_not(staff, monkeypatch):
    database = get_storage().database
    monkeypatch.setattr(database, "count_usage", lambda seconds: None)
    assert "manage.py rebuild_usage counts them" in text_of(staff.get(PAGE))
    until = datetime(2026, 11, 30, 12, 34, 56, tzinfo=UTC)
    monkeypatch.setattr(database, "count_usage", lambda seconds: until)
    assert "Counted until 30 Nov 2026, 12:34:56 UTC" in text_of(staff.get(PAGE))


def test_what_is_left_due_and_overdue(staff, settings):
    settings.RETENTION_HOT_DAYS, settings.RETENTION_TOTAL_DAYS = 30, 90
    for days_ago, hot, cold in ((0, 1, 0), (31, 10, 0), (40, 100, 1000), (100, 0, 10_000)):
        used(days_ago, "model-1", {"ada": (hot + cold, 0, 0)}, hot=hot, cold=cold)
    text = text_of(staff.get(PAGE))
    assert "Hot 111 Cold 11,000 Due 10,110 Overdue 10,100" in text


@pytest.mark.every_backend
def test_how_commands_ended_and_what_was_left_out(staff, settings, tmp_path):
    settings.BACKUP_DIR = tmp_path
    database = get_storage().database
    database.record_end("purge_interactions", Ended(datetime(2026, 11, 30, 3, tzinfo=UTC), "done"))
    database.record_end("backup", Ended(datetime(2026, 11, 30, 4, tzinfo=UTC), "failed"))
    now = timezone.now()
    intake.add([Count(intake.hour_of(now), "otlp", "received", 12, now)])
    intake.add([Count(intake.hour_of(now), "otlp", "no_text", 5, now)])
    response = staff.get(PAGE)
    text = text_of(response)
    assert "backup 30 Nov 2026, 04:00 failed purge_interactions 30 Nov 2026, 03:00 done" in text
    assert '<td class="warn">failed</td>' in response.content.decode()
    assert "OpenTelemetry 12 0 5 Left out: No text 5" in text
    assert "Newest backup none on this machine" in text
    made = now - timedelta(hours=5, minutes=10)
    (tmp_path / f"backup-{made:%Y%m%dT%H%M%S.%f}Z.json").write_text("{}")
    assert "Newest backup 5\xa0hours, 10\xa0minutes ago" in text_of(staff.get(PAGE)).replace(
        "&nbsp;", "\xa0"
    ).replace("5 hours, 10 minutes", "5\xa0hours, 10\xa0minutes")


PARTS = {
    "usage": (usage.usage, "of_models"),
    "top users": (usage.usage, "sums_of_leaders"),
    "counting": (usage, "count"),
    "tiers": (operations.usage, "tiers"),
    "cache": (dashboard, "cache_use"),
    "intake": (operations, "summary"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_fails_says_so_and_the_others_are_shown(staff, monkeypatch, part):
    def fail(*arguments):
        raise StorageUnavailable("It did not answer just now.")

    used(0, "model-1", {"ada": (3, 5, 7)})
    monkeypatch.setattr(*PARTS[part], fail)
    response = staff.get(PAGE)
    text = text_of(response)
    assert response.status_code == 200
    # What has just failed to count is not asked for the last runs: it may take seconds to fail.
    assert text.count("It did not answer just now.") == (2 if part == "counting" else 1)
    for other in ("Usage", "Top users", "Stored", "Cache", "Last runs", "Intake"):
        assert other in text


@pytest.mark.every_backend
def test_a_database_of_interactions_that_is_away_takes_nothing_else_down(staff, monkeypatch):
    def fail(*arguments):
        raise StorageUnavailable("DynamoDB did not answer.")

    used(0, "model-1", {"ada": (3, 5, 7)})
    for name in ("count_usage", "last_ends", "describe"):
        monkeypatch.setattr(get_storage().database, name, fail)
    text = text_of(staff.get(PAGE))
    assert text.count("DynamoDB did not answer.") == 3
    assert "Interactions 3 " in text


def test_who_sees_what(storage):
    used(0, "model-1", {"ada": (3, 5, 7)})
    nobody = text_of(staff_with("view_chatinteraction").get(PAGE))
    assert "Usage" not in nobody
    assert "ada" not in nobody
    assert "Interactions" in nobody, "the list of what there is"
    numbers = text_of(staff_with(*NUMBERS).get(PAGE))
    assert "Interactions 3 " in numbers
    assert "Top users" not in numbers
    assert "ada" not in numbers
    assert "What to do about it" not in numbers
    assert "Top users" in text_of(staff_with(*NUMBERS, "view_chatinteraction").get(PAGE))


def test_it_costs_the_same_calls_however_much_was_used(staff):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(f"{PAGE}?days=90").status_code == 200
        return [query["sql"] for query in captured]

    queries()  # begins to count, if that is yet to do
    used(0, "model-1", {"ada": (3, 5, 7)})
    priced()
    queries()
    before = queries()
    for number in range(1, 60, 3):
        used(number, f"model-{number}", {f"user-{user}": (1, 2, 3) for user in range(20)})
    priced("model-4")
    assert len(queries()) == len(before)
    assert len(before) <= 12, before


def test_the_plots_need_no_script_inside_the_page(staff):
    used(0, 'model-"</script>', {"ada": (3, 5, 7)})
    page = staff.get(PAGE).content.decode()
    assert re.findall(r"<script(?![^>]*src=)[^>]*>", page) == []
    assert "data-plot=" in page
    assert 'model-"</script>' not in page
