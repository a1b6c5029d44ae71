"""DELETE: gone from every read at once."""

import pytest

from tests.chat.calls import (
    BATCH,
    INTERACTIONS,
    PROBLEM,
    ids,
    new,
    of_user,
    one,
    patch,
    post,
    saved,
)

pytestmark = pytest.mark.every_backend


def test_a_deletion_has_nothing_to_say(client):
    saved(client, interaction_id="mine")
    response = client.delete(one("mine"))
    assert (response.status_code, response.content) == (204, b"")


def test_what_is_deleted_is_gone_from_every_read_at_once(client):
    for interaction_id in ("keep", "drop"):
        saved(client, interaction_id=interaction_id)
        # Each read before, so that a cached answer would be found.
        client.get(one(interaction_id))
    client.get(of_user("ada"))
    client.delete(one("drop"))
    assert client.get(one("drop")).status_code == 404
    assert client.head(one("drop")).status_code == 404
    assert ids(client.get(of_user("ada"))) == ["keep"]
    assert ids(client.get(INTERACTIONS)) == ["keep"]


def test_what_is_deleted_can_be_neither_completed_nor_deleted(client):
    saved(client, interaction_id="mine")
    client.delete(one("mine"))
    for response in (patch(client, "mine", {"response": "r"}), client.delete(one("mine"))):
        assert response.status_code == 404
        assert response["Content-Type"] == PROBLEM


def test_the_id_of_a_deleted_interaction_is_free_again(client):
    saved(client, interaction_id="mine")
    client.delete(one("mine"))
    response = post(client, new(interaction_id="mine", message="Another question"))
    assert response.status_code == 201
    assert client.get(one("mine")).json() == response.json()


def test_a_deletion_in_the_middle_of_a_list_does_not_break_paging(client):
    items = [new(interaction_id=f"i{number}") for number in range(6)]
    post(client, {"interactions": items}, path=BATCH)
    whole = ids(client.get(INTERACTIONS))
    first = client.get(INTERACTIONS, {"limit": 2})
    # The cursor names the last interaction of the page, so that is the one to remove.
    client.delete(one(ids(first)[-1]))
    rest = client.get(first.json()["next"])
    assert ids(rest) == whole[2:4]
