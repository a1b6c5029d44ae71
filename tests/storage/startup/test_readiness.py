"""A start goes on when DynamoDB is merely slow, and says so."""

import socket

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from storage.exceptions import StorageUnavailable
from storage.startup import readiness, selection
from tests.chat.processes import Server
from tests.config.test_environment import PRODUCTION


@pytest.fixture
def hanging():
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_start_goes_on_though_dynamodb_hangs(tmp_path, hanging):
    server = Server(tmp_path, DYNAMODB_ENDPOINT_URL=hanging, **PRODUCTION)
    try:
        server.wait_until_it_answers()
        assert (
            "WARNING storage.startup.readiness Starting, although DynamoDB did not do"
            in server.output
        )
        status, _, body = server.request("GET", "/readyz")
        assert (status, b"unavailable" in body) == (503, True)
    finally:
        server.stop()


def test_outside_production_nothing_is_asked(settings, monkeypatch):
    settings.ENVIRONMENT = "staging"
    monkeypatch.setattr(readiness, "get_storage", lambda: pytest.fail("it was asked"))
    assert readiness.mistake() is None


class Failing:
    """A storage that gives no answer, for a reason."""

    def __init__(self, cause):
        self.cause = cause

    def check_available_sync(self):
        raise StorageUnavailable("It did not answer.") from self.cause


def refusal(code):
    return ClientError({"Error": {"Code": code}}, "GetItem")


@pytest.fixture
def start(settings, monkeypatch):
    """What a start says when DynamoDB does not answer for a reason; None if it goes on."""
    settings.ENVIRONMENT = "production"

    def start(cause):
        monkeypatch.setattr(readiness, "get_storage", lambda: Failing(cause))
        return readiness.mistake()

    return start


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
def test_what_passes_by_itself_stops_no_start(start, cause):
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
def test_what_an_operator_must_put_right_stops_a_start(start, cause, words):
    said = start(cause)
    assert words in said
    assert "\n" not in said


def test_a_missing_region_is_said(settings):
    settings.ENVIRONMENT = "production"
    settings.AWS_REGION = ""
    selection._storage_of.cache_clear()
    assert "AWS_REGION" in readiness.mistake()
