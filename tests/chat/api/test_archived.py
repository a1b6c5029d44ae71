"""Interactions in cold storage, as clients of the API see them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command

from chat.maintenance.identity import confirm_archive
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.archive.ownership import NAME
from storage.records import pages
from tests.chat.calls import INTERACTIONS, LOOKUP, PROBLEM, ids, mistakes, of_user, one, patch, post

pytestmark = pytest.mark.every_backend

DAY = datetime(2026, 10, 3, tzinfo=UTC)
PERIOD = {"created_after": "2026-10-01T00:00:00Z", "created_before": "2026-10-31T00:00:00Z"}


@pytest.fixture
def archive(storage, tmp_path, monkeypatch):
    archive = Archive(ArchiveFolder(tmp_path / "archive"))
    monkeypatch.setattr(storage, "archive", archive)
    return archive


@pytest.fixture
def fill(storage, archive, make_interaction):
    """Saves interactions an hour apart from DAY, and archives them in segments of a few."""

    def fill(count, users=("ada",), in_segment=7):
        made = [
            make_interaction(
                interaction_id=f"i-{number:03}",
                user_id=users[number % len(users)],
                created_at=DAY + timedelta(hours=number),
                updated_at=DAY + timedelta(hours=number),
            )
            for number in range(count)
        ]
        storage.create_interactions_sync(made)
        days = sorted({each.created_at.date() for each in made})
        for day in days:
            rows = [each for each in made if each.created_at.date() == day]
            for start in range(0, len(rows), in_segment):
                segment = archive.new_segment(day)
                archive.write(segment, rows[start : start + in_segment])
                storage.move_to_cold(rows[start : start + in_segment], segment)
        return [each.interaction_id for each in reversed(made)]

    return fill


def walk(client, path, **parameters):
    found = []
    response = client.get(path, PERIOD | {"tier": "archive"} | parameters)
    while True:
        assert response.status_code == 200, response.content
        found.append(ids(response))
        address = response.json()["next"]
        if address is None:
            return found
        response = client.get(address)


def test_an_archived_interaction_says_so(client, fill):
    fill(1)
    record = client.get(one("i-000")).json()
    assert record["tier"] == "archive"
    assert record["created_at"] == "2026-10-03T00:00:00.000000Z"


def test_a_hot_one_does_not(client, storage, make_interaction):
    storage.create_interactions_sync([make_interaction(interaction_id="hot")])
    assert "tier" not in client.get(one("hot")).json()


def test_it_is_not_there_for_another_user(make_client, fill):
    fill(1)
    bob = make_client("bob")
    assert bob.get(one("i-000")).status_code == 404
    assert bob.delete(one("i-000")).status_code == 404
    assert patch(bob, "i-000", {"response": "x"}).status_code == 404


def test_it_cannot_be_completed(client, fill):
    fill(1)
    response = patch(client, "i-000", {"response": "x"})
    assert (response.status_code, response["Content-Type"]) == (409, PROBLEM)
    assert "archived" in response.json()["detail"]


def test_it_can_be_deleted(client, fill):
    fill(2)
    assert client.delete(one("i-000")).status_code == 204
    assert client.get(one("i-000")).status_code == 404
    assert walk(client, of_user("ada")) == [["i-001"]]


def test_hot_lists_leave_it_out_and_say_where_the_archive_begins(client, fill, settings):
    settings.RETENTION_HOT_DAYS = 30
    fill(1)
    for path in (INTERACTIONS, of_user("ada")):
        page = client.get(path).json()
        assert page["results"] == []
        until = datetime.fromisoformat(page["archived_until"])
        assert abs(datetime.now(UTC) - timedelta(days=30) - until) < timedelta(minutes=1)


def test_it_answers_no_lookup(client, fill):
    fill(1)
    question = {"user_id": "ada", "message": "What is a B-tree?"}
    assert post(client, question, LOOKUP).status_code == 404


@pytest.mark.parametrize("limit", [1, 7, 200])
def test_archived_lists_have_all_newest_first_page_by_page(client, fill, limit):
    expected = fill(30, in_segment=5)  # two days
    for path in (INTERACTIONS, of_user("ada")):
        found = walk(client, path, limit=limit)
        assert [each for page in found for each in page] == expected
        assert all(len(page) == limit for page in found[:-1])


def test_archived_lists_of_a_user_have_no_one_elses(client, fill):
    expected = fill(30, users=("ada", "bob"))
    found = [each for page in walk(client, of_user("ada"), limit=4) for each in page]
    assert found == [each for each in expected if int(each[2:]) % 2 == 0]


def test_every_record_says_that_it_is_archived(client, fill):
    fill(3)
    page = client.get(INTERACTIONS, PERIOD | {"tier": "archive"}).json()
    assert {record["tier"] for record in page["results"]} == {"archive"}
    assert "archived_until" not in page


def test_a_period_is_kept_to_the_microsecond(client, fill):
    fill(30)
    period = {
        "created_after": "2026-10-03T05:00:00Z",
        "created_before": "2026-10-04T02:00:00Z",
    }
    found = client.get(INTERACTIONS, period | {"tier": "archive"})
    assert ids(found) == [f"i-{number:03}" for number in range(25, 4, -1)]


def test_a_row_that_is_hot_again_is_in_the_hot_list_only(client, storage, archive, fill):
    fill(2)
    segment = archive.segments(DAY.date())[0]
    (row, _) = archive.rows(segment)
    storage.return_from_cold([row], segment)
    assert walk(client, INTERACTIONS) == [["i-001"]]
    assert ids(client.get(INTERACTIONS)) == ["i-000"]


def test_a_list_of_the_archive_needs_a_period(client):
    response = client.get(INTERACTIONS, {"tier": "archive"})
    assert response.status_code == 400
    assert mistakes(response).keys() == {"created_after", "created_before"}


def test_and_not_too_long_a_one(client):
    period = {"created_after": "2026-09-01T00:00:00Z", "created_before": "2026-10-02T00:00:00.1Z"}
    response = client.get(INTERACTIONS, period | {"tier": "archive"})
    assert response.status_code == 400
    assert "31 days" in mistakes(response)["created_before"]


def test_an_unknown_tier_is_refused(client):
    response = client.get(INTERACTIONS, {"tier": "cold"})
    assert mistakes(response) == {"tier": "must be hot or archive."}


def test_a_cursor_of_one_tier_is_refused_for_the_other(client, fill, storage, make_interaction):
    fill(3)
    response = client.get(INTERACTIONS, PERIOD | {"tier": "archive", "limit": 1})
    address = response.json()["next"].replace("tier=archive", "tier=hot")
    assert client.get(address).status_code == 400


def test_a_damaged_segment_is_a_503_and_never_a_500(client, archive, fill, tmp_path):
    fill(1)
    (data,) = (tmp_path / "archive").rglob("*.zst")
    data.write_bytes(data.read_bytes()[:-5])
    for path, parameters in ((one("i-000"), {}), (INTERACTIONS, PERIOD | {"tier": "archive"})):
        response = client.get(path, parameters)
        assert (response.status_code, response["Content-Type"]) == (503, PROBLEM)


def test_an_import_of_what_is_archived_changes_nothing(client, fill, storage, make_interaction):
    fill(3)
    again = [
        make_interaction(interaction_id=f"i-{number:03}", created_at=DAY) for number in range(3)
    ]
    assert [str(each) for each in storage.create_interactions_sync(again)] == ["unchanged"] * 3


def test_the_archive_can_be_exported(fill, tmp_path, storage, make_interaction):
    expected = fill(9)
    storage.create_interactions_sync([make_interaction(interaction_id="hot")])
    exported = tmp_path / "archived.jsonl"
    call_command("export_interactions", str(exported), "--tier", "archive")
    lines = exported.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["interaction_id"] for line in lines] == expected


def test_a_page_of_long_texts_ends_early_and_says_that_more_follow(client, fill, monkeypatch):
    monkeypatch.setattr(pages, "PAGE_TEXT", 100)
    expected = fill(30, in_segment=5)
    found = walk(client, INTERACTIONS, limit=200)
    assert [each for page in found for each in page] == expected
    assert {len(page) for page in found[:-1]} == {3}  # 42 characters each


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        (INTERACTIONS, PERIOD | {"tier": "archive"}),
        (of_user("ada"), PERIOD | {"tier": "archive"}),
        (f"{INTERACTIONS}search/", {}),
        (f"{INTERACTIONS}search/", {"tier": "archive", "user_id": "ada"}),
    ],
)
def test_without_the_archive_nothing_looks_complete(
    client, storage, fill, tmp_path, monkeypatch, path, parameters
):
    confirm_archive(storage)
    fill(3)
    assert len(client.get(path, parameters).json()["results"]) == 3
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    response = client.get(path, parameters)
    assert (response.status_code, response["Retry-After"]) == (503, "60")
    assert "archive" in response.json()["detail"]
    hot = {name: value for name, value in parameters.items() if name != "tier"}
    assert client.get(path, hot | {"tier": "hot"}).status_code == 200


def test_without_the_archive_nothing_in_it_is_unknown(client, storage, fill, tmp_path, monkeypatch):
    (name,) = fill(1)
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    assert client.get(one(name)).status_code == 503
    storage.archive.files.write("large/saved meanwhile", b"")
    assert client.get(one(name)).status_code == 503


def test_without_the_archive_nothing_in_it_is_deleted(
    client, storage, archive, fill, tmp_path, monkeypatch
):
    """What it has would not be marked, and a mark in its place would look like an archive."""
    (name,) = fill(1)
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    assert client.delete(one(name)).status_code == 503
    assert client.get(one(name)).status_code == 503
    monkeypatch.setattr(storage, "archive", archive)
    assert client.delete(one(name)).status_code == 204
    assert client.get(one(name)).status_code == 404
    assert archive.marked()


def test_with_another_archive_in_its_place_nothing_is_unknown_or_deleted(
    client, storage, archive, fill, make_interaction, tmp_path, monkeypatch
):
    """A mark there would be of no use, and in its own archive the bytes would stay."""
    confirm_archive(storage)
    (name,) = fill(1)
    other = Archive(ArchiveFolder(tmp_path / "another"))
    other.files.write_document(NAME, {"identity": "another"})
    other.write(other.new_segment(DAY.date()), [make_interaction(created_at=DAY)])
    monkeypatch.setattr(storage, "archive", other)
    assert client.get(one(name)).status_code == 503
    assert client.delete(one(name)).status_code == 503
    assert other.marked() == {}
    monkeypatch.setattr(storage, "archive", archive)
    assert client.get(one(name)).status_code == 200
    assert client.delete(one(name)).status_code == 204
