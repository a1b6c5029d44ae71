"""A start goes on when DynamoDB is merely slow, and says so."""

import socket
import socketserver
import threading

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from storage.archive.archive import configured_archive
from storage.dynamodb.database import DynamoDBDatabase
from storage.exceptions import StorageUnavailable
from storage.large.texts import LargeTexts
from storage.startup import readiness, selection
from tests.chat.processes import Server
from tests.config.test_environment import PRODUCTION


@pytest.fixture
def hanging():
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def cutting():
    """The URL of a server that ends every connection without an answer."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "without_answer", ["cutting", pytest.param("hanging", marks=pytest.mark.exhaustive)]
)
def test_a_start_goes_on_though_dynamodb_does_not_answer(tmp_path, request, without_answer):
    url = request.getfixturevalue(without_answer)
    server = Server(tmp_path, DYNAMODB_ENDPOINT_URL=url, **PRODUCTION)
    try:
        server.wait_until_it_answers()
        assert (
            "WARNING storage.dynamodb.database Starting, although DynamoDB did not complete"
            in server.output
        )
        status, _, body = server.request("GET", "/readyz")
        assert (status, b"unavailable" in body) == (503, True)
    finally:
        server.stop()


class FailingClient:
    """A client that gets no answer, for a reason."""

    def __init__(self, cause):
        self.cause = cause

    def call(self, operation, **parameters):
        raise StorageUnavailable("It did not answer.") from self.cause


def refusal(code):
    return ClientError({"Error": {"Code": code}}, "GetItem")


def start(cause):
    """What a start says when DynamoDB does not answer for a reason; None if it goes on."""
    return DynamoDBDatabase(
        FailingClient(cause), 1, LargeTexts(configured_archive().files)
    ).startup_problem()


def test_sqlite_is_always_ready(storage):
    assert readiness.startup_problem() is None


@pytest.mark.parametrize(
    "cause",
    [
        None,  # the circuit breaker
        exceptions.ReadTimeoutError(endpoint_url="x"),
        exceptions.ConnectTimeoutError(endpoint_url="x"),
        exceptions.ConnectionClosedError(endpoint_url="x"),
        refusal("ThrottlingException"),
        refusal("InternalServerError"),
    ],
    ids=repr,
)
def test_what_passes_by_itself_stops_no_start(cause):
    assert start(cause) is None


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (exceptions.NoCredentialsError(), "There are no AWS credentials"),
        (exceptions.ProfileNotFound(profile="x"), "There are no AWS credentials"),
        (exceptions.EndpointConnectionError(endpoint_url="x"), "Check AWS_REGION"),
        (exceptions.SSLError(endpoint_url="x", error="y"), "DYNAMODB_ENDPOINT_URL"),
        (refusal("UnrecognizedClientException"), "does not accept the credentials"),
        (refusal("AccessDeniedException"), "do not allow GetItem"),
        (refusal("ValidationException"), "manage.py dynamodb_table check"),
    ],
    ids=repr,
)
def test_what_an_operator_must_put_right_stops_a_start(cause, words):
    said = start(cause)
    assert words in said
    assert "\n" not in said


def test_a_missing_region_is_said(settings):
    settings.ENVIRONMENT = "production"
    settings.AWS_REGION = ""
    selection._storage_of.cache_clear()
    assert "AWS_REGION" in readiness.startup_problem()
