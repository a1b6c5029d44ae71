"""Errors: one form for all of them, and nothing in them that is not the client's business."""

import json

import pytest
from django.test import Client

from chat.api.bodies import BODY_LIMIT
from storage import get_storage
from storage.exceptions import StorageFull, StorageUnavailable
from tests.chat.calls import BATCH, INTERACTIONS, PROBLEM, mistakes, new, of_user, one, patch, post


def problem(response, status):
    """The answer is a problem of this status; gives its members."""
    assert response.status_code == status
    assert response["Content-Type"] == PROBLEM
    found = response.json()
    assert found["status"] == status
    assert found["type"].startswith("urn:problem-type:")
    assert all(isinstance(found[name], str) and found[name] for name in ("type", "title", "detail"))
    assert found.keys() <= {"type", "title", "status", "detail", "errors", "error_count"}
    return found


OPERATIONS = (
    "read",
    "read_stored",
    "create",
    "create_many",
    "update",
    "delete",
    "newest",
    "newest_json",
    "check_available",
)


@pytest.fixture
def broken(monkeypatch, client):
    """A client of a store whose database always raises the given error."""

    def make(error):
        def fail(*args, **kwargs):
            raise error

        for name in OPERATIONS:
            monkeypatch.setattr(type(get_storage().database), name, fail)
        client.raise_request_exception = False
        return client

    return make


CALLS = {
    "list": lambda client: client.get(INTERACTIONS),
    "list of a user": lambda client: client.get(of_user("ada")),
    "read": lambda client: client.get(one("mine")),
    "save": lambda client: post(client, new()),
    "save many": lambda client: post(client, {"interactions": [new()]}, path=BATCH),
    "complete": lambda client: patch(client, "mine", {"response": "r"}),
    "delete": lambda client: client.delete(one("mine")),
}
WRITES = ["save", "save many", "complete", "delete"]


def test_each_kind_of_error_is_a_problem_of_its_own_type(client, make_client):
    post(client, new(interaction_id="mine"))
    bound = make_client("eve")
    key = {"HTTP_IDEMPOTENCY_KEY": "k"}
    made = post(client, new(), **key).json()
    found = [
        problem(post(client, {}), 400),
        problem(Client().get(INTERACTIONS), 401),
        problem(bound.get(INTERACTIONS), 403),
        problem(client.get(one("unknown")), 404),
        problem(client.put(INTERACTIONS), 405),
        problem(post(client, new(interaction_id="mine", message="other")), 409),
        problem(post(client, b"x" * (BODY_LIMIT + 1)), 413),
        problem(client.post(INTERACTIONS, "x", content_type="text/plain"), 415),
        problem(post(client, new(message="other"), **key), 422),
    ]
    client.delete(one(made["interaction_id"]))
    found.append(problem(post(client, new(), **key), 410))
    found.append(problem(post(client, b"{}", HTTP_TRANSFER_ENCODING="chunked"), 411))
    assert len({answer["type"] for answer in found}) == len(found)


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v2/", "/api/v1/", "/api/v1/interaction/", "/api/x"]
)
def test_an_unknown_address_of_the_api_is_a_problem(client, path):
    for caller in (client, Client()):
        assert "ends with a slash" in problem(caller.get(path), 404)["detail"]


@pytest.mark.parametrize("path", ["/api/otlp/v1/traces/v1/traces", "/api/v1/otlp/v1/logs"])
def test_an_exporter_at_a_wrong_address_is_told_the_right_one(client, path, caplog):
    answer = problem(client.post(path, b"x", content_type="application/x-protobuf"), 404)
    assert "/api/otlp/v1/traces" in answer["detail"]
    assert answer["detail"] in caplog.text


def test_an_exporter_of_metrics_is_told_that_none_are_taken(client):
    answer = client.post("/api/otlp/v1/metrics", b"x", content_type="application/x-protobuf")
    assert "OTEL_METRICS_EXPORTER=none" in problem(answer, 404)["detail"]


def test_a_call_without_a_key_is_told_to_send_one(db):
    for path in (INTERACTIONS, "/api/v1/ingest/litellm/"):
        assert "Authorization: Api-Key" in problem(Client().post(path), 401)["detail"]


def test_an_unknown_address_elsewhere_is_a_page(client):
    assert client.get("/unknown/")["Content-Type"].startswith("text/html")


def test_a_wrong_host_is_a_problem(client):
    problem(Client().get(INTERACTIONS, HTTP_HOST="example.org"), 400)


def test_a_wrong_host_never_gets_into_a_link(client):
    post(client, {"interactions": [new(), new()]}, path=BATCH)
    for path in (INTERACTIONS, of_user("ada")):
        problem(client.get(path, {"limit": 1}, HTTP_HOST="example.org"), 400)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_store_that_is_away_asks_for_another_try(broken, call):
    response = call(broken(StorageUnavailable("the secret reason")))
    problem(response, 503)
    assert int(response["Retry-After"]) >= 1
    assert b"secret" not in response.content


@pytest.mark.parametrize("call", [CALLS[name] for name in WRITES], ids=WRITES)
def test_a_full_store_says_so(broken, call):
    response = call(broken(StorageFull("the secret reason")))
    assert "nothing was written" in problem(response, 507)["detail"]
    assert int(response["Retry-After"]) >= 1
    assert b"secret" not in response.content


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_mistake_of_the_server_says_nothing_of_itself(broken, call):
    response = call(broken(RuntimeError("the secret reason")))
    assert problem(response, 500)["title"] == "Server error"
    assert b"secret" not in response.content
    assert b"RuntimeError" not in response.content
    assert b"Traceback" not in response.content


def test_a_store_that_is_away_is_away_for_keys_too(client, monkeypatch):
    def fail(*args, **kwargs):
        raise StorageUnavailable("away")

    monkeypatch.setattr("storage.accounts.api_keys._look_up", fail)
    response = client.get(INTERACTIONS)
    problem(response, 503)
    assert int(response["Retry-After"]) >= 1


def test_readiness_follows_the_store_and_liveness_does_not(broken):
    client = broken(StorageUnavailable("away"))
    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response["Content-Type"] == "application/json"


def test_a_name_in_a_pointer_is_escaped(client):
    response = post(client, new() | {"a/b~c": 1, "": 2, "née": 3})
    assert set(mistakes(response)) == {"#/a~1b~0c", "#/", "#/née"}


def test_an_error_does_not_repeat_what_it_refuses(client):
    """Errors end in the logs of clients, where the text of a conversation has no business."""
    for body in (
        new(message="marker", response="marker\0"),
        new(message="marker", input_tokens="marker"),
        {"message": ["marker"], "response": {"marker": "marker"}},
        {"interactions": "marker"},
    ):
        response = post(client, body)
        assert response.status_code == 400
        assert b"marker" not in response.content
    malformed = json.dumps(new(message="marker"))[:-3]
    assert b"marker" not in post(client, malformed.encode()).content


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/png", "*/*;q=0", "x"])
def test_what_a_client_accepts_changes_nothing(client, accept):
    assert client.get(INTERACTIONS, HTTP_ACCEPT=accept)["Content-Type"] == "application/json"
    problem(client.get(one("unknown"), HTTP_ACCEPT=accept), 404)
