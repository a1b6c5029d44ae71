"""Personal data: what was said, and who said it, stays out of logs, `repr` and error messages."""

import logging
import traceback
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.test import Client

from storage import get_storage
from storage.exceptions import StorageError, StorageFull, StorageUnavailable
from storage.models import ApiKey, IdempotencyRecord, UsageOfUser
from tests.chat.calls import BATCH, INTERACTIONS, new, of_user, one, patch, post

PERSONAL = ["user_id", "message", "response"]


@pytest.fixture
def log(caplog):
    """All that is logged, down to DEBUG, tracebacks included."""
    caplog.set_level(logging.DEBUG)
    for name in ("django", "django.request", "django.server", "django.db.backends"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@pytest.fixture
def markers():
    """Fields whose every value can be told from anything else."""
    names = ["interaction_id", *PERSONAL, "model_used"]
    return {name: f"{name}-{uuid4().hex}" for name in names}


def every_call(client, fields):
    """Calls that succeed, and calls that end in each kind of error."""
    other = fields | {"message": fields["message"] + "!"}
    mine = fields["interaction_id"]
    key = {"HTTP_IDEMPOTENCY_KEY": uuid4().hex}
    cursor = f"{INTERACTIONS}?cursor={fields['message']}"
    for send in (
        lambda: post(client, fields),
        lambda: post(client, fields),
        lambda: post(client, other),
        lambda: post(client, fields | {"model_used": "\0", "input_tokens": "x"}),
        lambda: post(client, fields | {"response": fields["response"] + "\0"}),
        lambda: post(client, fields | {"message": fields["message"] * 20_000}),
        lambda: post(client, str(fields).encode()),
        lambda: client.post(INTERACTIONS, str(fields), content_type="text/plain"),
        lambda: post(client, fields, **key),
        lambda: post(client, other, **key),
        lambda: post(client, {"interactions": [fields, other]}, path=BATCH),
        lambda: post(client, {"interactions": [fields, other | {"user_id": ""}]}, path=BATCH),
        lambda: client.get(one(mine)),
        lambda: client.get(INTERACTIONS),
        lambda: client.get(of_user(fields["user_id"])),
        lambda: client.get(cursor),
        lambda: patch(client, mine, {"response": fields["response"] * 2}),
        lambda: patch(client, mine, {"response": fields["response"], "message": "x"}),
        lambda: client.put(one(mine)),
        lambda: client.delete(one(mine)),
        lambda: client.delete(one(mine)),
    ):
        yield send().status_code


def written(log):
    """The log as text, as a formatter would write it."""
    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")
    return "\n".join(map(formatter.format, log.records))


def above_debug(log):
    return [record.getMessage() for record in log.records if record.levelno > logging.DEBUG]


def leaked(text, markers):
    return [name for name in PERSONAL if markers[name] in text]


def test_nothing_personal_is_logged_by_any_call(client, log, markers):
    statuses = set(every_call(client, new(**markers)))
    assert statuses == {200, 201, 204, 400, 404, 405, 409, 415, 422}
    assert above_debug(log) == [], "the line of a request says it all"
    assert leaked(written(log), markers) == []


@pytest.mark.parametrize(
    "error", [StorageUnavailable("away"), StorageFull("full"), RuntimeError("a defect")], ids=repr
)
def test_nothing_personal_is_logged_when_the_store_fails(client, log, markers, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    for name in ("read", "create", "create_many", "update", "delete", "newest_json"):
        monkeypatch.setattr(type(get_storage().database), name, fail)
    client.raise_request_exception = False
    statuses = set(every_call(client, new(**markers)))
    assert statuses & {500, 503, 507}
    assert any(record.levelno >= logging.ERROR for record in log.records)
    text = written(log).replace(of_user(markers["user_id"]), "")  # has its own test below
    assert leaked(text, markers) == []


@pytest.mark.parametrize("caller", ["no key", "a key of another user", "a cursor that is wrong"])
def test_a_refused_call_is_not_logged_again_by_django(client, make_client, log, markers, caller):
    path = of_user(markers["user_id"])
    callers = {
        "no key": lambda: Client().get(path),
        "a key of another user": lambda: make_client("eve").get(path),
        "a cursor that is wrong": lambda: client.get(path, {"cursor": "x"}),
    }
    assert callers[caller]().status_code in (400, 401, 403)
    assert above_debug(log) == []
    assert leaked(written(log), markers) == []


def test_a_user_id_in_an_address_is_not_logged(client, log, markers, monkeypatch):
    """Django logs the address of a defect, and a user's address has the user's id."""

    def fail(*args, **kwargs):
        raise RuntimeError

    monkeypatch.setattr(type(get_storage().database), "newest_json", fail)
    client.raise_request_exception = False
    assert client.get(of_user(markers["user_id"])).status_code == 500
    (record,) = [record for record in log.records if record.name == "django.request"]
    assert "users/<path:user_id>/" in record.getMessage()
    assert leaked(record.getMessage(), markers) == []


def test_no_key_is_logged(make_client, log):
    client = make_client()
    key = client.defaults["HTTP_AUTHORIZATION"].removeprefix("Api-Key ")
    for used in (key, key + "x"):
        headers = {"Authorization": f"Api-Key {used}", "Idempotency-Key": "marker"}
        for path in (INTERACTIONS, one("unknown")):
            Client().get(path, headers=headers)
    assert above_debug(log) == []
    assert key.partition(".")[2] not in written(log)


def test_nothing_personal_is_in_the_repr_of_what_is_stored(storage, make_interaction, markers):
    interaction = make_interaction(**markers)
    for text in (repr(interaction), str(interaction), f"{interaction}", repr([interaction])):
        assert leaked(text, markers) == []
    post_key, key = ApiKey.objects.create_key(name="test", user_id=markers["user_id"])
    for text in (repr(post_key), str(post_key)):
        assert leaked(text, markers) == []
        assert key not in text
    named = {name: markers[name] for name in ("interaction_id", "user_id")}
    record = IdempotencyRecord(key="k", request="r", **named)
    usage = UsageOfUser(user_id=markers["user_id"], model_used="m")
    for text in (repr(record), str(record), repr(usage), str(usage)):
        assert leaked(text, markers) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"input_tokens": -1},
        {"input_tokens": "x"},
        {"model_used": ""},
        {"message": "{message}\0"},
        {"response": "{response}\ud800"},
        {"message": "{message}" + "x" * 8_000_000},
        {"user_id": "{user_id}\n"},
        {"user_id": "{user_id}" * 10},
        {"created_at": "{message}"},
        {},
    ],
    ids=lambda broken: "-".join(broken) or "conflict",
)
def test_nothing_personal_is_in_an_error_of_the_storage(storage, make_interaction, markers, broken):
    storage.create_interaction_sync(make_interaction(**markers))
    other = markers | {"message": markers["message"] + "!"}
    fields = other | {
        name: value.format(**markers) if isinstance(value, str) else value
        for name, value in broken.items()
    }
    with pytest.raises(StorageError) as caught:
        storage.create_interaction_sync(make_interaction(**fields))
    whole = "".join(traceback.format_exception(caught.value))
    for text in (whole, repr(caught.value), str(caught.value)):
        assert leaked(text, markers) == []


def test_nothing_personal_is_in_what_an_import_says(storage, tmp_path, markers, capfd):
    good = (
        '{{"interaction_id": "{interaction_id}", "user_id": "{user_id}", "message": "{message}", '
        '"response": "{response}", "model_used": "m", "created_at": "2026-01-01T00:00:00Z"}}'
    ).format(**markers)
    bad = [
        good,
        good.replace('"message": "', '"message": "other '),
        good.replace('"m"', '""'),
        good.replace("2026-01-01T00:00:00Z", markers["message"]),
        good.replace('"m"', "5"),
        good[:-30],
        good[:-1] + ', "more": 1}',
    ]
    file = tmp_path / "file.jsonl"
    file.write_text("\n".join(bad))
    said = StringIO()
    with pytest.raises(SystemExit):
        call_command("import_interactions", str(file), stdout=said, stderr=said)
    assert "1 created" in said.getvalue()
    assert "line 7" in said.getvalue()
    captured = capfd.readouterr()
    assert leaked(said.getvalue() + captured.out + captured.err, markers) == []
