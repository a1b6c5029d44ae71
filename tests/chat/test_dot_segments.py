"""No new id has a dot segment, since clients resolve addresses with one to another user's.

What is stored under such an id, from before this rule, can be read, exported and erased.
"""

import json

import pytest
from django.test import Client

from storage.models import ApiKey
from tests.chat.calls import (
    BATCH,
    INTERACTIONS,
    ids,
    mistakes,
    new,
    of_user,
    one,
    patch,
    post,
    saved,
)
from tests.chat.lines import command, line, summary

pytestmark = pytest.mark.every_backend

USER = "ada/../bobby"


@pytest.fixture
def old(storage, make_interaction):
    """An interaction from before the rule, and one of the user that its address leads to."""
    made = [
        make_interaction(interaction_id="x/../y", user_id=USER),
        make_interaction(interaction_id="y", user_id="bobby"),
    ]
    storage.copy_interactions(made)


@pytest.fixture
def eraser(transactional_db):
    _, key = ApiKey.objects.create_key(name="privacy", may_erase=True)
    return Client(headers={"Authorization": f"Api-Key {key}"})


@pytest.mark.parametrize("value", ["..", USER, "a/%2e%2E/b"])
@pytest.mark.parametrize("name", ["interaction_id", "user_id"])
def test_it_cannot_be_saved(client, name, value):
    for response, pointer in (
        (post(client, new(**{name: value})), f"#/{name}"),
        (
            post(client, {"interactions": [new(), new(**{name: value})]}, path=BATCH),
            f"#/interactions/1/{name}",
        ),
    ):
        assert response.status_code == 400
        assert "dot segment" in mistakes(response)[pointer]
    assert ids(client.get(INTERACTIONS)) == []


def test_a_line_with_it_is_not_imported(storage, tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_bytes(line(1) + line(2, user_id=USER) + line(3, interaction_id=".."))
    status, said, errors = command("import_interactions", path)
    assert (status, said) == (1, summary(created=1, bad=2))
    assert "line 2: user_id must not have a dot segment" in errors
    assert "line 3: interaction_id must not have a dot segment" in errors


def test_no_key_is_bound_to_it(storage):
    status, said, errors = command("create_api_key", "phone", "--user", USER)
    assert (status, said) == (2, "")
    assert "dot segment" in errors
    assert not ApiKey.objects.exists()


def test_a_key_that_is_bound_to_it_can_still_be_revoked(storage):
    key, _ = ApiKey.objects.create_key(name="phone", user_id=USER)
    key.revoked = True
    key.full_clean()


def test_what_is_stored_can_be_read_and_completed_and_deleted(client, old):
    assert client.get(one("x/../y")).json()["user_id"] == USER
    assert ids(client.get(of_user(USER))) == ["x/../y"]
    assert patch(client, "x/../y", {"response": "r"}).json()["response"] == "r"
    assert client.delete(one("x/../y")).status_code == 204
    assert client.get(one("y")).status_code == 200


def test_what_is_stored_can_be_exported_and_erased_by_command(client, old, tmp_path):
    path = tmp_path / "file.jsonl"
    assert command("export_interactions", "--user", USER, path)[0] == 0
    assert [json.loads(each)["interaction_id"] for each in path.read_text().splitlines()] == [
        "x/../y"
    ]
    assert command("export_user", USER, "--output", tmp_path / "export")[0] == 0
    assert command("erase_user", USER)[0] == 0
    assert ids(client.get(INTERACTIONS)) == ["y"]


@pytest.mark.parametrize("path", ["ada/../bobby", "ada%2F..%2Fbobby", "ada/%2e%2e/bobby"])
def test_an_erasure_by_such_an_address_is_refused(eraser, old, path):
    """Whoever sends it may be lucky that nothing on the way resolves it."""
    response = eraser.delete(f"/api/v1/users/{path}/")
    assert response.status_code == 400
    assert "manage.py erase_user" in response.json()["detail"]
    assert sorted(ids(eraser.get(INTERACTIONS))) == ["x/../y", "y"]


@pytest.mark.parametrize("value", ["...", "a..b", ".env", "a/b.", "a//b"])
def test_other_dots_and_slashes_are_as_good_as_any(client, value):
    saved(client, interaction_id=value, user_id=value)
    assert client.get(one(value)).status_code == 200
    assert ids(client.get(of_user(value))) == [value]
