"""Calls past botocore: what they sign and trust, and when they leave everything to botocore."""

import datetime
import http.server
import ipaddress
import json
import logging
import os
import socket
import ssl
import sys
import threading
import time
import zlib

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ReadTimeoutError, SSLError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from storage.dynamodb import curl, mirror, signing, transport
from storage.dynamodb.client import LONGEST_CALL, Client
from storage.exceptions import StorageUnavailable
from tests import clouds

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(autouse=True)
def account(monkeypatch):
    """Credentials, and nothing else of this machine's environment."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


class Server:
    """A DynamoDB that has one item, and notes the headers of requests. `answers` go first."""

    def __init__(self, context=None):
        self.requests, self.answers = [], []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                server.requests.append(dict(self.headers))
                self.rfile.read(int(self.headers["Content-Length"]))
                status, body, headers = server.answers.pop(0) if server.answers else answer()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def answer(status=200, **headers):
    body = b'{"Item": {"interaction_id": {"S": "i"}}}'
    return status, body, {"x-amz-crc32": str(zlib.crc32(body))} | headers


def error(code, status=400, **headers):
    return status, json.dumps({"__type": f"x#{code}", "message": "No."}).encode(), headers


@pytest.fixture
def serve():
    """Starts servers."""
    started = []

    def start(context=None):
        started.append(Server(context))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def client_of(url):
    return Client(mirror.bound("unused", clouds.REGION, url, 2), 2)


def read(client):
    return client.call("GetItem", Key={"interaction_id": {"S": "i"}})


def client_at(server, scheme="http", host="127.0.0.1"):
    return client_of(f"{scheme}://{host}:{server.port}")


def botocore_of(client):
    """What stands in front of botocore's client."""
    return client._connection.client


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


def certificate(subject, issuer=None, key_of_issuer=None, *, days=1, is_authority=False):
    """A certificate for `subject`, valid from two days ago, and its key; self-signed by default."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(subject))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=2))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if not is_authority:
        address = x509.IPAddress(ipaddress.ip_address(subject))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(key_of_issuer or key, hashes.SHA256()), key


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


def context_of(made, folder):
    """The TLS context of a server with a certificate."""
    found, key = made
    file = folder / "server.pem"
    file.write_bytes(
        found.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


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


# Credentials and the clock.


def credentials(access_key, lifetime):
    """Metadata of credentials as a provider gives them; `lifetime` is in seconds."""
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=lifetime)
    return {
        "access_key": access_key,
        "secret_key": "secret",
        "token": "token",
        "expiry_time": expires.isoformat(),
    }


def test_new_credentials_are_used_as_soon_as_there_are_some(serve):
    server = serve()
    client = client_at(server)
    given = iter([credentials("SECOND", 3600)])
    found = RefreshableCredentials.create_from_metadata(
        credentials("FIRST", 3600), lambda: next(given), "test"
    )
    botocore_of(client).client._request_signer._credentials = found
    read(client)
    found._expiry_time = NOW  # botocore gets new ones before that
    read(client)
    read(client)
    signed = [request["authorization"] for request in server.requests]
    keys = [text.partition("Credential=")[2].partition("/")[0] for text in signed]
    assert keys == ["FIRST", "SECOND", "SECOND"]
    assert server.requests[0]["x-amz-security-token"] == "token"


def test_a_wrong_clock_is_noticed_and_the_request_signed_again(serve):
    server = serve()
    date = "Tue, 01 Dec 2099 10:00:00 GMT"
    server.answers = [error("RequestTimeTooSkewed", Date2="", Date=date)]
    client = client_at(server)
    read(client)
    assert server.requests[1]["x-amz-date"].startswith("20991201T100")
    read(client)  # and stays known
    assert server.requests[2]["x-amz-date"].startswith("20991201T100")


# Answers.


def test_an_answer_with_a_wrong_checksum_is_never_taken(serve, monkeypatch):
    monkeypatch.setattr(transport.time, "sleep", lambda seconds: None)
    server = serve()
    wrong = answer(**{"x-amz-crc32": "1"})
    server.answers = [wrong]
    client = client_at(server)
    assert read(client)["Item"]
    server.answers = [wrong] * 10
    with pytest.raises(StorageUnavailable, match="DamagedAnswer"):
        read(client)
    assert len(server.requests) == 2 + 1 + mirror.RETRIES


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


# When everything is left to botocore.


def ways(client):
    return botocore_of(client)._operations


def test_without_anything_special_calls_go_past_botocore():
    assert ways(client_of("http://127.0.0.1:1")) == transport.OPERATIONS


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_with_a_proxy_everything_is_botocores(monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:2")
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert ways(client_of("http://dynamodb.example:1")) == frozenset()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("_request_signer", "_credentials"),
        ("_request_signer", "_signature_version"),
        ("_endpoint", "http_session"),
    ],
)
def test_a_botocore_that_lacks_a_private_name_does_everything_and_that_is_said(
    monkeypatch, caplog, owner, name
):
    stock = botocore_of(client_of("http://127.0.0.1:1")).client
    caplog.set_level(logging.WARNING)

    class Lacking:
        def __getattr__(self, asked):
            if asked == name:
                raise AttributeError(f"no {name}")
            return getattr(getattr(stock, owner), asked)

    class Changed:
        def __getattr__(self, asked):
            return Lacking() if asked == owner else getattr(stock, asked)

    made = transport.DirectClient(Changed(), 1, 1)
    assert made._operations == frozenset()
    assert "This botocore is not known" in caplog.text


def test_without_libcurl_everything_is_botocores(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycurl", None)
    assert ways(client_of("http://127.0.0.1:1")) == frozenset()


def test_a_child_process_makes_connections_of_its_own(serve):
    server = serve()
    client = client_at(server)
    read(client)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if read(client)["Item"] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    read(client)
    assert len(botocore_of(client)._endpoint.http._idle) == 1
    assert len(server.requests) == 3


def test_an_answer_that_does_not_come_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as server:
        http = curl.Http(f"http://127.0.0.1:{server.getsockname()[1]}", 1, 0.2, "")
        begun = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            http.post([], b"{}")
    assert time.monotonic() - begun < 1


def test_all_attempts_fit_into_the_longest_call():
    attempts = mirror.RETRIES + 1
    assert attempts * curl.IN_ALL * mirror.READ_SECONDS < LONGEST_CALL
