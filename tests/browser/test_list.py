"""The list of interactions as staff use it: through the pages, by filters, by keyboard."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.browser.checking import PHONE, check, expected_errors, follow
from tests.browser.site import interaction

LIST = "/admin/storage/chatinteraction/"
COUNT = 230
HOT_DAYS = 31
"""Interactions that are older are archived."""

VIEW = "storage.view_chatinteraction"
LONG = "long" * 60
TURNED = "turned\u202eroundabout"


def made(number):
    """Every hour one of 230, of which some are older than HOT_DAYS."""
    age = timedelta(minutes=number + 1) if number < 120 else timedelta(days=HOT_DAYS + number - 120)
    return interaction(
        number,
        created_at=(datetime.now(UTC) - age).isoformat(),
        user_id=("ada", "bob", LONG, TURNED)[number % 4],
        model_used=f"model-{number % 3}",
        response="" if number % 5 == 0 else "Yes.",
        message="\u202e<script>alert(1)</script>{{ 7*7 }}",
    )


ROWS = {f"interaction-{number:03}": made(number) for number in range(COUNT)}


@pytest.fixture(scope="module", autouse=True)
def _saved(site):
    site.save(ROWS.values())


def ids(page):
    links = page.locator(".rows .created a")
    addresses = links.evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    return [re.search(r"/interaction_2D(\d+)/|/(interaction-\d+)/", each) for each in addresses]


def shown(page):
    return [f"interaction-{found[1]}" if found[1] else found[2] for found in ids(page)]


def walk(page, name):
    """The ids on this page and on all that a link leads to."""
    pages = [shown(page)]
    while (link := page.get_by_role("link", name=name)).count():
        follow(page, link)
        pages.append(shown(page))
    return pages


def expected(is_wanted=lambda row: True):
    return [name for name, row in ROWS.items() if is_wanted(row)]


def joined(pages):
    return [name for page in pages for name in page]


def found(page):
    return joined(walk(page, re.compile("Older|Continue")))


@pytest.mark.exhaustive
def test_all_rows_forward_and_back_also_after_an_archive_run(site, open_page):
    page = open_page(LIST, VIEW)
    forward = walk(page, re.compile("Older|Continue"))
    assert joined(forward) == expected()
    check(page)
    back = walk(page, "Newer")
    assert back == forward[::-1]
    # Between two clicks, most of what follows is archived: nothing is lost, nothing comes twice.
    follow(page, page.get_by_role("link", name="Older"))
    site.run("archive_interactions")
    rest = walk(page, re.compile("Older|Continue"))
    assert forward[0] + joined(rest) == expected()
    assert page.get_by_text("archived", exact=True).count() > 20
    assert found(open_page(LIST, VIEW)) == expected()


FILTERS = [
    ({"User": "bob"}, lambda row: row["user_id"] == "bob"),
    ({"Model": "model-1"}, lambda row: row["model_used"] == "model-1"),
    ({"Answer": "Without an answer"}, lambda row: not row["response"]),
    (
        {"Tokens, at least": "1010", "Tokens, at most": "1020"},
        lambda row: 1010 <= row["input_tokens"] + row["output_tokens"] <= 1020,
    ),
    (
        {"User": "ada", "Model": "model-2", "Answer": "With an answer", "Tokens, at least": "1100"},
        lambda row: (
            row["user_id"] == "ada"
            and row["model_used"] == "model-2"
            and row["response"]
            and row["input_tokens"] + row["output_tokens"] >= 1100
        ),
    ),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("values", "is_wanted"), FILTERS, ids=[" ".join(v) for v, _ in FILTERS])
def test_filters_alone_and_together(open_page, values, is_wanted):
    page = open_page(LIST, VIEW)
    page.get_by_text("More filters").click()
    for label, value in values.items():
        field = page.get_by_label(label, exact=True)
        field.select_option(label=value) if label == "Answer" else field.fill(value)
    follow(page, page.get_by_role("button", name="Filter"))
    assert found(page) == expected(is_wanted)
    check(page)


@pytest.mark.exhaustive
def test_days(open_page):
    last = datetime.now(UTC).date() - timedelta(days=HOT_DAYS + 5)
    first = last - timedelta(days=20)
    page = open_page(f"{LIST}?first_day={first}&last_day={last}", VIEW)
    assert page.get_by_label("From day (UTC)").input_value() == str(first)
    wanted = expected(lambda row: first <= datetime.fromisoformat(row["created_at"]).date() <= last)
    assert len(wanted) == 21
    assert found(page) == wanted


@pytest.mark.exhaustive
def test_revealed_texts_are_shown_as_they_are_and_can_be_searched(open_page):
    page = open_page(f"{LIST}?user_id=bob", VIEW, "storage.read_texts")
    assert page.get_by_text("alert(1)").count() == 0
    follow(page, page.locator(".rows .created a").first)
    page.get_by_label("Reason").fill("a reason for this test")
    follow(page, page.get_by_role("button", name="Reveal"))
    page.goto(page.url.partition(LIST)[0] + LIST)
    assert page.locator(".preview", has_text="<script>alert(1)</script>{{ 7*7 }}").count()
    assert page.locator(".hidden-text").count(), "of the other users"
    check(page)
    page.get_by_label("User", exact=True).fill("bob")
    page.get_by_label("Words in the texts").fill("ALERT")
    follow(page, page.get_by_role("button", name="Filter"))
    assert found(page) == expected(lambda row: row["user_id"] == "bob")


def test_list_by_keyboard_alone(open_page):
    page = open_page(LIST, VIEW)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    tab_to(page, "User")
    page.keyboard.type("bob")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "user_id=bob" in page.url
    assert shown(page)[0] == "interaction-001"
    page.locator(".rows .created a").first.focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith("/change/")
    check(page, axe=False)


def tab_to(page, label):
    wanted = page.get_by_label(label, exact=True)
    for _ in range(40):
        page.keyboard.press("Tab")
        if wanted.evaluate("field => field === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach {label}")


@pytest.mark.exhaustive
def test_account_menu_by_keyboard(open_page):
    page = open_page(LIST, VIEW)
    menu = page.get_by_role("button", name="Account and look")
    menu.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Log out").wait_for()


def test_rows_are_whole_on_a_phone(open_page):
    page = open_page(LIST, VIEW, width=PHONE)
    check(page)
    cut = page.evaluate(
        """[...document.querySelectorAll(".rows tbody *")].filter((element) => {
          const box = element.getBoundingClientRect();
          return box.right > innerWidth || box.left < 0 || element.scrollWidth > element.clientWidth
            && getComputedStyle(element).display !== "inline";
        }).length"""
    )
    assert cut == 0
    assert page.get_by_text("turned[U+202E]roundabout").count()


def test_one_is_found_by_its_id_and_a_wrong_filter_is_told(open_page):
    page = open_page(LIST, VIEW)
    page.get_by_label("Interaction id").fill("nobody")
    follow(page, page.get_by_role("button", name="Open"))
    assert page.get_by_text("There is no interaction with this id.").is_visible()
    page.get_by_label("Interaction id").fill("interaction-229")
    follow(page, page.get_by_role("button", name="Open"))
    assert page.url.endswith("/change/")
    check(page, axe=False)
    with expected_errors(page) as errors:
        page.goto(page.url.partition(LIST)[0] + f"{LIST}?tokens_min=many&user_id=bob")
    assert len(errors) == 1
    assert page.get_by_text("Enter a whole number from 0 to").is_visible()
    assert page.get_by_label("User", exact=True).input_value() == "bob"
    check(page)
