"""`create_api_key`: a key for a chat service, shown once."""

import pytest
from django.test import Client

from storage.models import ApiKey
from tests.chat.calls import INTERACTIONS, new, of_user, post
from tests.chat.lines import command
from tests.chat.processes import run


def client_with(key):
    return Client(headers={"Authorization": f"Api-Key {key}"})


def test_it_prints_a_service_wide_key_and_nothing_else(storage):
    status, said, errors = command("create_api_key", "billing")
    assert status == 0
    assert said.count("\n") == 1
    client = client_with(said.strip())
    assert client.get(INTERACTIONS).status_code == 200
    assert post(client, new(user_id="anyone")).status_code == 201
    assert "only its hash is stored" in errors


def test_it_can_bind_the_key_to_a_user(storage):
    _, said, _ = command("create_api_key", "phone", "--user", "née/b")
    client = client_with(said.strip())
    assert client.get(of_user("née/b")).status_code == 200
    assert client.get(of_user("other")).status_code == 403
    assert client.get(INTERACTIONS).status_code == 403


def test_the_key_itself_is_stored_nowhere(storage):
    _, said, _ = command("create_api_key", "billing")
    secret = said.strip().partition(".")[2]
    assert len(secret) >= 32
    assert secret not in str(list(ApiKey.objects.values()))


def test_each_call_makes_another_key(storage):
    keys = {command("create_api_key", "billing")[1] for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["", "--user", "ada"],
        ["x" * 51],
        ["billing", "--user", "x" * 256],
        ["billing", "--user", "a\nb"],
        ["billing", "--user", "a\ud800"],
        [],
    ],
    ids=ascii,
)
def test_what_cannot_be_is_refused_and_makes_no_key(storage, arguments):
    status, said, errors = command("create_api_key", *arguments)
    assert status != 0
    assert said == ""
    assert errors
    assert not ApiKey.objects.exists()


def test_an_empty_user_does_not_make_a_key_for_everyone(storage):
    """As in `--user "$ID"` where ID is not set: a bound key was asked for."""
    status, said, errors = command("create_api_key", "phone", "--user", "")
    assert (status != 0, said, bool(errors)) == (True, "", True)
    assert not ApiKey.objects.exists()


def test_the_shell_gets_2_for_a_user_that_cannot_be(folder):
    finished = run(folder, "create_api_key", "billing", "--user", "a\x7fb")
    assert finished.returncode == 2
    assert finished.stdout == b""
    assert b"control characters" in finished.stderr
    assert b"Traceback" not in finished.stderr
