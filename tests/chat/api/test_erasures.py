"""Erasing a user over the API."""

import logging
import re
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.test import Client

from chat.maintenance import holds
from chat.maintenance.erasure import erasing
from chat.maintenance.holds import Hold
from chat.maintenance.identity import confirm_archive
from chat.maintenance.runs import LOCK
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import CacheNotErased
from storage.models import ApiKey
from tests.chat.calls import INTERACTIONS, PROBLEM, ids, of_user, one
from tests.chat.lines import command

pytestmark = pytest.mark.every_backend

ADA = "/api/v1/users/ada/"
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _no_hurry(monkeypatch):
    """On a busy machine an erasure may take longer than a request waits for it."""
    monkeypatch.setattr("chat.api.users.REQUEST_SECONDS", 3600)


@pytest.fixture
def eraser(transactional_db):
    """A client with a key that may erase."""
    _, key = ApiKey.objects.create_key(name="privacy", may_erase=True)
    return Client(headers={"Authorization": f"Api-Key {key}"})


@pytest.fixture
def rows(storage, make_interaction):
    """Interactions of two users, hot and cold."""
    made = [
        make_interaction(
            interaction_id=f"{user}-{days}",
            user_id=user,
            created_at=NOW - timedelta(days=days),
            updated_at=NOW,
        )
        for user in ("ada", "bob")
        for days in (1, 40, 41)
    ]
    storage.create_interactions_sync(made)
    confirm_archive(storage)  # as the run does that archives
    for days in (40, 41):
        old = sorted(
            (each for each in made if each.interaction_id.endswith(f"-{days}")),
            key=lambda each: (each.created_at, each.interaction_id),
        )
        segment = storage.archive.new_segment(old[0].created_at.date())
        storage.archive.write(segment, old)
        storage.move_to_cold(old, segment)
    return made


def cold_ids(storage):
    return sorted(
        row.interaction_id
        for day in storage.archive.days()
        for segment in storage.archive.segments(day)
        for row in storage.archive.rows(segment)
    )


def test_a_user_is_erased_with_a_receipt(eraser, rows, storage):
    response = eraser.delete(ADA)
    assert response.status_code == 200
    erasure = response.json()
    assert erasure["status"] == "done"
    assert erasure["receipt"]["erased"]["hot"] == 1
    assert erasure["receipt"]["erased"]["cold"] == 2
    assert not re.search(rb"\bada\b", response.content)  # a UUID may contain it
    for interaction in rows:
        found = eraser.get(one(interaction.interaction_id))
        assert found.status_code == (404 if interaction.user_id == "ada" else 200)
    assert ids(eraser.get(of_user("ada"))) == []
    assert cold_ids(storage) == ["bob-40", "bob-41"]
    assert eraser.get(response["Location"]).json() == erasure


def test_it_names_the_key_that_asked(eraser, rows):
    prefix = ApiKey.objects.get(name="privacy").prefix
    assert eraser.delete(ADA).json()["requested_by"] == f"key:{prefix}"


def test_nothing_to_erase_is_said_so(eraser, rows):
    receipt = eraser.delete("/api/v1/users/nobody/").json()["receipt"]
    assert receipt["erased"] == {}


def test_a_repeat_finds_nothing_more(eraser, rows):
    first, second = eraser.delete(ADA).json(), eraser.delete(ADA).json()
    assert first["erasure_id"] != second["erasure_id"]
    assert second["receipt"]["erased"] == {}


def test_beside_another_run_it_waits_for_cron(eraser, rows, storage, client):
    assert storage.database.acquire_lock(LOCK, "an archive run", 60)
    response = eraser.delete(ADA)
    assert response.status_code == 202
    assert response.json()["status"] == "pending"
    assert eraser.delete(ADA).json()["erasure_id"] == response.json()["erasure_id"]
    assert eraser.get(one("ada-1")).status_code == 200
    storage.database.release_lock(LOCK, "an archive run")
    assert erasing.pending(storage) == ["ada"]
    assert eraser.delete(ADA).status_code == 200
    assert eraser.get(response["Location"]).json()["status"] == "done"


def test_what_a_request_has_no_time_for_is_pending(eraser, rows, monkeypatch):
    monkeypatch.setattr("chat.api.users.REQUEST_SECONDS", 0)
    response = eraser.delete(ADA)
    assert (response.status_code, response.json()["receipt"]) == (202, None)


def test_a_layer_that_does_not_confirm_leaves_it_pending(eraser, rows, settings):
    folder = settings.STORAGES["archive"]["OPTIONS"]["location"]
    (data, *_) = sorted(folder.rglob("*.zst"))
    data.write_bytes(b"damaged")
    response = eraser.delete(ADA)
    assert response.status_code == 202
    assert data.name in response.json()["problem"]


@pytest.mark.parametrize(("kind", "value"), [("user", "ada"), ("day", None)])
def test_a_user_under_a_hold_is_not_erased(eraser, rows, storage, kind, value):
    value = value or (NOW - timedelta(days=40)).date().isoformat()
    hold = Hold(kind, value, "case 4711", NOW)
    holds.put(storage.archive, hold)
    response = eraser.delete(ADA)
    assert (response.status_code, response["Content-Type"]) == (409, PROBLEM)
    assert "legal hold" in response.json()["detail"]
    assert len(ids(eraser.get(INTERACTIONS))) == 2
    assert erasing.pending(storage) == []
    holds.lift(storage.archive, hold)
    assert eraser.delete(ADA).status_code == 200


@pytest.mark.parametrize("user_id", ["a%2Fb", "caf%C3%A9", "100%25", "a/b"])
def test_ids_of_users_may_hold_anything(eraser, user_id):
    assert eraser.delete(f"/api/v1/users/{user_id}/").status_code == 200


@pytest.mark.parametrize("erasure_id", ["1", "0199f0c2-0000-7000-8000-000000000000", "..", "%2e"])
def test_an_unknown_erasure_is_a_404(eraser, erasure_id):
    response = eraser.get(f"/api/v1/erasures/{erasure_id}/")
    assert (response.status_code, response["Content-Type"]) == (404, PROBLEM)


def test_a_key_without_the_permission_may_not(client, make_client, rows):
    for each in (client, make_client("ada")):
        response = each.delete(ADA)
        assert (response.status_code, response["Content-Type"]) == (403, PROBLEM)
    assert client.get(one("ada-1")).status_code == 200


def test_a_key_bound_to_the_user_goes_too(eraser, rows, make_client):
    make_client("ada")
    assert eraser.delete(ADA).json()["receipt"]["erased"]["api_keys"] == 1
    assert not ApiKey.objects.filter(user_id="ada").exists()


# Addresses, and what is said.


@pytest.mark.parametrize("end", ["interactions", "export"])
def test_an_id_that_ends_like_another_address_is_refused_and_nobody_erased(eraser, rows, end):
    """Whether ada is meant or `ada/interactions`, nobody can tell; the command can."""
    for path in (f"{ADA}{end}/", f"/api/v1/users/ada%2F{end}/"):
        response = eraser.delete(path)
        assert (response.status_code, response["Content-Type"]) == (405, PROBLEM)
    assert eraser.get(one("ada-1")).status_code == 200


@pytest.mark.parametrize("user_id", ["x" * 256, "a%7Fb", "a%00"])
def test_an_id_that_cannot_be_is_refused(eraser, storage, user_id):
    response = eraser.delete(f"/api/v1/users/{user_id}/")
    assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)
    assert erasing.pending(storage) == []


def test_parameters_are_refused(eraser, rows):
    assert eraser.delete(f"{ADA}?now=1").status_code == 400
    assert eraser.get("/api/v1/erasures/1/?x=1").status_code == 400
    assert eraser.get(one("ada-1")).status_code == 200


def test_the_user_is_in_no_answer_and_no_log(eraser, storage, make_interaction, caplog, tmp_path):
    marker = f"user-{uuid4().hex}"
    caplog.set_level(logging.DEBUG)
    path = f"/api/v1/users/{marker}/"

    def answers():
        storage.create_interactions_sync([make_interaction(user_id=marker)])
        yield eraser.delete(path)
        yield eraser.delete(f"{path}?x=1")
        holds.put(storage.archive, Hold("user", marker, f"{marker} against us", NOW))
        yield eraser.delete(path)
        holds.lift(storage.archive, Hold("user", marker, "", NOW))
        with patch.object(type(storage), "forget_user", side_effect=CacheNotErased):
            yield eraser.delete(path)
        yield Client().delete(path)
        storage.archive.files.delete("archive.json")
        yield eraser.delete(path)

    statuses = []
    for response in answers():
        statuses.append(response.status_code)
        assert marker not in response.content.decode() + str(response.headers)
    assert statuses == [200, 400, 409, 202, 401, 503]
    assert "No erasure was started" in caplog.text
    assert marker not in caplog.text


def test_the_files_of_a_large_database_are_left_to_cron(eraser, rows, storage, monkeypatch):
    """To leave no bytes in them takes longer than a request may."""
    with monkeypatch.context() as large:
        large.setattr(type(storage.database), "scrub_seconds", lambda self: 86_400.0)
        response = eraser.delete(ADA)
    state = response.json()
    assert (response.status_code, state["status"], state["problem"]) == (202, "removed", None)
    assert eraser.get(one("ada-1")).status_code == 404
    receipt = state["receipt"]
    assert (receipt["erased"]["hot"], receipt["erased"]["cold"]) == (1, 2)
    assert receipt["scrubbed_at"] is None
    assert eraser.get(response["Location"]).json() == state
    assert command("erase_user", "--pending")[0] == 0
    done = eraser.get(response["Location"]).json()
    assert (done["status"], done["receipt"]["removed_at"]) == ("done", receipt["removed_at"])
    assert done["receipt"]["scrubbed_at"] > receipt["removed_at"]


def test_what_is_saved_after_it_was_removed_is_another_erasure(
    eraser, rows, storage, make_interaction, monkeypatch
):
    monkeypatch.setattr(type(storage.database), "scrub_seconds", lambda self: 86_400.0)
    first = eraser.delete(ADA).json()
    storage.create_interactions_sync([make_interaction(interaction_id="new", user_id="ada")])
    second = eraser.delete(ADA).json()
    assert first["erasure_id"] != second["erasure_id"]
    assert second["receipt"]["erased"]["hot"] == 1
    assert eraser.get(one("new")).status_code == 404


def test_without_its_archive_nothing_is_begun(eraser, rows, storage):
    eraser.delete("/api/v1/users/nobody/")
    storage.archive.files.delete("archive.json")
    response = eraser.delete(ADA)
    assert (response.status_code, response["Retry-After"]) == (503, "60")
    assert erasing.pending(storage) == []


def test_without_its_archive_no_erasure_is_said_to_be_unknown(
    eraser, rows, storage, tmp_path, monkeypatch
):
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    assert eraser.get(f"/api/v1/erasures/{uuid4()}/").status_code == 503


def test_a_key_that_is_bound_may_not_even_if_somebody_lets_it(storage, rows):
    _, key = ApiKey.objects.create_key(name="phone", user_id="ada", may_erase=True)
    client = Client(headers={"Authorization": f"Api-Key {key}"})
    response = client.delete(ADA)
    assert response.status_code == 403
    assert "service-wide" in response.json()["detail"]
    assert client.get(f"{ADA}export/").status_code == 403
    assert client.get("/api/v1/erasures/1/").status_code == 403


def test_the_command_makes_keys_that_may(storage, rows):
    status, key, _ = command("create_api_key", "privacy", "--may-erase")
    assert status == 0
    client = Client(headers={"Authorization": f"Api-Key {key.strip()}"})
    assert client.delete(ADA).status_code == 200
    status, key, errors = command("create_api_key", "phone", "--user", "ada", "--may-erase")
    assert (status, key) == (2, "")
    assert "service-wide" in errors
