"""What clients and operators see of a DynamoDB that fails: 503, and what to do; never texts."""

import logging
import traceback

import pytest

from storage.cache.breaker import PAUSE
from storage.dynamodb import mirror, transport
from storage.exceptions import StorageUnavailable
from storage.startup import selection
from storage.startup.availability import LOOKS
from tests import clouds, switches
from tests.chat.calls import BATCH, INTERACTIONS, PROBLEM, ids, new, of_user, one, patch, post
from tests.system.faults import operations
from tests.system.faults import proxy as faults
from tests.system.faults.operations import MESSAGE, RESPONSE

CALLS = {
    "list": lambda client: client.get(INTERACTIONS),
    "list of a user": lambda client: client.get(of_user("ada")),
    "read": lambda client: client.get(one("i")),
    "save": lambda client: post(client, said()),
    "save with a key": lambda client: post(client, said(), HTTP_IDEMPOTENCY_KEY="k"),
    "save many": lambda client: post(client, {"interactions": [said()] * 30}, path=BATCH),
    "complete": lambda client: patch(client, "i", {"response": RESPONSE}),
    "delete": lambda client: client.delete(one("i")),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)

FAULTS = {
    "throttled": faults.throttle,
    "failed": faults.fail_before,
    "failed after": faults.fail_after,
    "cut": faults.cut,
    "answer lost": faults.cut_after,
    "answer cut in two": faults.cut_inside,
    "wrong credentials": faults.error(400, "UnrecognizedClientException"),
    "not allowed": faults.error(400, "AccessDeniedException"),
    "another table than expected": faults.error(400, "ValidationException"),
    "no answer of DynamoDB": lambda exchange: exchange.send(200, b"<html>"),
}


def said():
    return new(message=MESSAGE, response=RESPONSE)


@pytest.fixture
def client(storage, make_client, monkeypatch):
    """A client of a server whose interactions are in DynamoDB, behind the proxy."""
    monkeypatch.setattr(selection, "_storage_of", lambda process_id: storage)
    return make_client()


@pytest.fixture
def stored(direct, client):
    direct.save_interaction_sync(operations.new())


def refused(response):
    """The answer asks for another try; gives what it says."""
    assert response.status_code == 503, response.content
    assert response["Content-Type"] == PROBLEM
    assert int(response["Retry-After"]) >= 1
    return response.json()["detail"]


@every_call
def test_every_fault_is_a_503_that_asks_for_another_try_and_says_nothing_of_users(
    client, direct, proxy, clock, caplog, call
):
    caplog.set_level(logging.DEBUG)
    for name, fault in FAULTS.items():
        direct.save_interaction_sync(operations.new())
        proxy.always("*", fault)
        response = call(client)
        refused(response)
        for said_by in (response.content.decode(), caplog.text):
            assert MESSAGE not in said_by, name
            assert RESPONSE not in said_by, name
        proxy.calm()
        clock.sleep(PAUSE)  # a list asks four shards: their failures open the breaker
        LOOKS.forget()
        assert client.get("/readyz").status_code == 200, name


@pytest.mark.usefixtures("stored")
def test_a_list_whose_rows_are_throttled_is_whole_and_operators_see_it(client, proxy):
    def throttled():
        page = client.get("/metrics").content.decode()
        name = 'chat_dynamodb_throttled_requests_total{operation="BatchGetItem"}'
        return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))

    before = throttled()
    proxy.fail("BatchGetItem", faults.unprocessed(faults.everything))
    assert ids(client.get(of_user("ada"))) == ["i"]
    assert throttled() == before + 1


@pytest.mark.usefixtures("stored")
@every_call
def test_nothing_of_users_is_logged_when_all_is_well(client, caplog, call):
    caplog.set_level(logging.DEBUG)
    assert call(client).status_code < 400
    assert MESSAGE not in caplog.text
    assert RESPONSE not in caplog.text


def test_without_their_levels_the_libraries_would_log_what_users_said(client, caplog, monkeypatch):
    # The control, by botocore, which is not asked as a rule.
    monkeypatch.setattr(
        transport.DirectClient, "send", lambda self, *call: self.client._make_api_call(*call)
    )
    with caplog.at_level(logging.DEBUG, "botocore"):
        assert CALLS["save"](client).status_code == 201
    assert MESSAGE in caplog.text


@pytest.mark.parametrize(
    "operation", [*operations.WRITES, *operations.READS], ids=lambda operation: operation.name
)
def test_no_error_holds_what_users_said(storage, direct, proxy, timed, operation):
    for name, fault in FAULTS.items():
        operation.prepare(direct)
        proxy.always("*", fault)
        error, _ = timed(operation.call, storage)
        assert isinstance(error, StorageUnavailable), name
        # With its causes, but without the lines of these tests.
        told = [line for line in traceback.format_exception(error) if not line.startswith("  File")]
        assert MESSAGE not in "".join(told), name
        assert RESPONSE not in "".join(told), name
        proxy.calm()
        storage.get_interaction_sync("i")  # closes the breaker


def test_a_batch_that_is_not_finished_says_how_many_are_left_and_that_repeating_is_safe(
    client, proxy
):
    def last(statements):
        return [s for s in statements if s["Parameters"][0]["S"] == "i29"]

    items = [said() | {"interaction_id": f"i{number:02}"} for number in range(30)]
    proxy.always("BatchExecuteStatement", faults.unwritten(last, "ThrottlingError"))
    detail = refused(post(client, {"interactions": items}, path=BATCH))
    assert detail.startswith("1 interaction")
    assert "Send the batch again" in detail
    proxy.calm()
    response = post(client, {"interactions": items}, path=BATCH)
    outcomes = [result["status"] for result in response.json()["results"]]
    assert outcomes == ["unchanged"] * 29 + ["created"]


@every_call
def test_an_unknown_table_is_told_the_operator_with_the_remedy(client, storage, caplog, call):
    storage.database.client.table = "no-such-table"
    refused(call(client))
    # Of a batch DynamoDB says it for each statement, and not of the table as moto does.
    if call is CALLS["save many"] and switches.value("DYNAMODB_SERVER") != "moto":
        assert "ResourceNotFound. Compare the table" in caplog.text
        assert "manage.py dynamodb_table check" in caplog.text
    else:
        assert "no DynamoDB table no-such-table" in caplog.text
        assert "manage.py dynamodb_table create" in caplog.text


@every_call
@pytest.mark.parametrize("code", ["UnrecognizedClientException", "AccessDeniedException"])
def test_refused_credentials_are_told_the_operator_with_the_remedy(
    client, proxy, caplog, call, code
):
    proxy.always("*", faults.error(400, code))
    refused(call(client))
    assert code in caplog.text
    assert "manage.py dynamodb_table check" in caplog.text


@pytest.fixture
def unconnected(behind, proxy):
    """A store that looks for credentials at its first call."""
    return behind(mirror.bound("unused", clouds.REGION, proxy.url, clouds.CONNECTIONS))


def test_an_unknown_profile_is_told(unconnected, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(StorageUnavailable, match="ProfileNotFound"):
        unconnected.get_interaction_sync("i")


def test_missing_credentials_are_told(unconnected, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageUnavailable, match="NoCredentialsError"):
        unconnected.get_interaction_sync("i")


def test_readiness_is_503_and_says_why(client, proxy):
    assert client.get("/readyz").status_code == 200
    proxy.always("*", faults.cut)
    LOOKS.forget()  # it would be remembered for a second
    response = client.get("/readyz")
    assert response.status_code == 503
    assert client.get("/healthz").status_code == 200
