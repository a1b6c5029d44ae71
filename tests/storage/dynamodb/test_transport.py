"""Calls past botocore: what they sign and trust, and when they leave everything to botocore."""

import datetime
import socket

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ReadTimeoutError, SSLError
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from storage.dynamodb import curl, mirror, signing, transport
from storage.dynamodb.client import LONGEST_CALL
from storage.exceptions import StorageUnavailable
from tests.certificates import certificate, context_of
from tests.forks import in_fork
from tests.storage.dynamodb.answering import answer, botocore_of, client_at, read

NOW = datetime.datetime.now(datetime.UTC)

pytestmark = pytest.mark.usefixtures("account")


# Signatures.


@given(
    body=st.binary(max_size=200),
    token=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    seconds=st.integers(0, 4_000_000_000),
    port=st.sampled_from(["", ":8000"]),
)
def test_requests_are_signed_as_botocore_signs_them(body, token, secret, seconds, port):
    host = f"dynamodb.eu-central-1.amazonaws.com{port}"
    credentials = Credentials("AKIA", secret, token)
    signer = signing.Signer(host, "eu-central-1", "dynamodb")
    target = "DynamoDB_20120810.GetItem"
    lines = signer.headers(target, body, credentials, seconds)
    own = dict(line.split(":", 1) for line in lines)
    request = AWSRequest(
        "POST",
        f"https://{host}/",
        {"content-type": signing.CONTENT_TYPE, "x-amz-target": target},
        body,
    )
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    theirs = auth.SigV4Auth(credentials, "dynamodb", "eu-central-1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(auth, "get_current_datetime", lambda: moment)
        theirs.add_auth(request)
    assert own["authorization"].strip() == request.headers["Authorization"]


# Certificates.


@pytest.fixture(scope="module")
def authority():
    """An authority that signs certificates."""
    return certificate("authority", is_authority=True)


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """The authority is trusted."""
    file = tmp_path / "authority.pem"
    file.write_bytes(authority[0].public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(file))


def test_a_certificate_of_a_trusted_authority_is_taken(serve, authority, trusted, tmp_path):
    server = serve(context_of(certificate("127.0.0.1", *authority), tmp_path))
    assert read(client_at(server, "https"))["Item"] == {"interaction_id": {"S": "i"}}
    assert len(server.requests) == 1


@pytest.mark.parametrize("wrong", ["authority", "host name", "expired"])
def test_a_certificate_that_proves_nothing_is_refused(
    serve, authority, trusted, tmp_path, monkeypatch, wrong
):
    monkeypatch.setattr(transport.time, "sleep", lambda seconds: None)
    made = {
        "authority": lambda: certificate("127.0.0.1", *certificate("other", is_authority=True)),
        "host name": lambda: certificate("127.0.0.2", *authority),
        "expired": lambda: certificate("127.0.0.1", *authority, days=-1),
    }[wrong]()
    server = serve(context_of(made, tmp_path))
    with pytest.raises(StorageUnavailable) as raised:
        read(client_at(server, "https"))
    assert isinstance(raised.value.__cause__, SSLError)
    assert server.requests == []


# Connections.


def test_a_connection_is_kept_and_one_that_has_ended_is_replaced(serve):
    server = serve()
    client = client_at(server)
    for _ in range(3):
        read(client)
    http = botocore_of(client)._endpoint.http
    assert len(http._idle) == 1
    server.answers = [answer(Connection="close")]
    read(client)
    read(client)
    assert len(server.requests) == 5


def test_a_child_process_makes_connections_of_its_own(serve):
    server = serve()
    client = client_at(server)
    read(client)

    def read_in_child():
        assert read(client)["Item"]

    in_fork(read_in_child)
    read(client)
    assert len(botocore_of(client)._endpoint.http._idle) == 1
    assert len(server.requests) == 3


def test_an_answer_that_does_not_come_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as server:
        http = curl.Http(f"http://127.0.0.1:{server.getsockname()[1]}", 1, 0.2, "")
        with pytest.raises(ReadTimeoutError):
            http.post([], b"{}")


def test_all_attempts_fit_into_the_longest_call():
    attempts = mirror.RETRIES + 1
    assert attempts * curl.IN_ALL * mirror.READ_SECONDS < LONGEST_CALL
