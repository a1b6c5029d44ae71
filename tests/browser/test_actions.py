"""What staff do for a user, in Chromium: export, hold, erase, restore a day; and the first page."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.browser.checking import check, expected_errors, follow
from tests.browser.site import interaction

pytestmark = pytest.mark.exhaustive

ADMIN = "/admin/storage/chatinteraction/"
REASON = "The user asked for it, ticket 17."
OLD = datetime.now(UTC) - timedelta(days=40)


@pytest.fixture(scope="module", autouse=True)
def _saved(site):
    site.save(
        interaction(number, interaction_id=f"of-{user_id}-{number}", user_id=user_id)
        for user_id in ("ada", "bob", "eve")
        for number in range(3)
    )
    site.save([interaction(9, interaction_id="old", user_id="old", created_at=OLD.isoformat())])


def submit(page, name):
    """Press a button that leads to another page."""
    with page.expect_navigation():
        page.get_by_role("button", name=name).click()


def test_an_export_is_downloaded_whole(open_page, tmp_path):
    page = open_page(f"{ADMIN}user/?user_id=ada")
    check(page)
    follow(page, page.get_by_role("link", name="Export"))
    check(page)
    page.get_by_label("Reason").fill(REASON)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "export.jsonl"
    download.value.save_as(file)
    *rows, end = map(json.loads, file.read_text().splitlines())
    assert {row["user_id"] for row in rows} == {"ada"}
    assert (end["complete"], end["count"]) == (True, 3)


def test_a_hold_keeps_a_user_from_being_erased_until_it_is_lifted(open_page):
    page = open_page(f"{ADMIN}user/?user_id=bob")
    follow(page, page.get_by_role("link", name="Put on a legal hold"))
    page.get_by_label("Reason").fill(REASON)
    submit(page, "Put on the hold")
    assert "Under a legal hold since" in page.locator("main, body").first.inner_text()
    check(page)
    follow(page, page.get_by_role("link", name="Erase"))
    page.get_by_label("Type the user id").fill("bob")
    page.get_by_label("Reason").fill(REASON)
    with expected_errors(page):  # the status 409
        submit(page, "Erase this user")
    assert "legal hold" in page.get_by_role("alert").inner_text()
    page.goto(page.url.replace("/erase/", "/lift/"))
    page.get_by_label("Type the user id").fill("bob")
    page.get_by_label("Reason").fill(REASON)
    submit(page, "Lift the hold")
    assert "Under a legal hold since" not in page.locator("body").inner_text()


def test_an_erasure_takes_the_id_and_ends_with_a_receipt(open_page, site):
    page = open_page(f"{ADMIN}user/?user_id=eve")
    follow(page, page.get_by_role("link", name="Erase"))
    page.get_by_label("Type the user id").fill("somebody else")
    page.get_by_label("Reason").fill(REASON)
    with expected_errors(page):  # the status 400
        submit(page, "Erase this user")
    assert "This is not the user id" in page.get_by_role("alert").first.inner_text()
    page.get_by_label("Type the user id").fill("eve")
    submit(page, "Erase this user")
    if not page.get_by_role("heading", name="Receipt").count():
        site.run("erase_user", "--pending", "--wait", "60")
        page.reload()
    assert page.get_by_role("heading", name="Receipt").count() == 1
    assert "eve" not in page.locator("main, body").first.inner_text()
    check(page)
    page.goto(site.url(f"{ADMIN}?user_id=eve"))
    assert page.locator("a[href*='/of-eve-']").count() == 0
    page.goto(site.url(f"{ADMIN}?user_id=ada"))
    assert page.locator("a[href*='of-ada-']").count() > 0


def test_an_id_is_shown_with_each_of_its_spaces(open_page, site):
    """Otherwise nobody could type it as it is shown, and two users would look like one."""
    user_id = "two  spaces"
    site.save([interaction(20, interaction_id="spaced", user_id=user_id)])
    for address, place in (
        (f"{ADMIN}user/erase/?user_id=two%20%20spaces", ".identifier bdi"),
        (f"{ADMIN}spaced/change/", ".facts bdi"),
        (f"{ADMIN}?user_id=two%20%20spaces", ".rows .user bdi"),
    ):
        assert open_page(address).locator(place).first.inner_text() == user_id, address


def test_an_archived_day_is_restored(open_page, site):
    site.run("archive_interactions")
    page = open_page(f"{ADMIN}restore/")
    check(page)
    follow(page, page.get_by_role("link", name=f"{OLD:%Y-%m-%d}"))
    page.get_by_label("Reason").fill(REASON)
    submit(page, "Restore this day")
    assert "are hot again" in page.locator("body").inner_text()
    check(page)


def test_the_first_page_shows_what_was_used(open_page):
    page = open_page("/admin/?days=30")
    check(page)
    assert page.locator("canvas").count() == 2  # and one of costs, where there are prices
    assert "Counted until" in page.locator("body").inner_text()
