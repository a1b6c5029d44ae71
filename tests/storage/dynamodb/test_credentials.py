"""Each attempt is signed with credentials and a time that are right at that moment."""

import datetime
import http.server
import json
import re
import threading
from email.utils import format_datetime

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials

from storage.dynamodb import transport
from storage.exceptions import StorageUnavailable
from tests import clouds
from tests.storage.dynamodb.answering import botocore_of, client_at, error, read

pytestmark = pytest.mark.usefixtures("account")

NOW = datetime.datetime.now(datetime.UTC)


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
    server.answers = [error("RequestTimeTooSkewed", Date=date)]
    client = client_at(server)
    read(client)
    assert server.requests[1]["x-amz-date"].startswith("20991201T100")
    read(client)  # and stays known
    assert server.requests[2]["x-amz-date"].startswith("20991201T100")


def test_a_wrong_clock_is_said_since_what_is_saved_gets_its_time(serve, caplog):
    server = serve()
    server.answers = [error("RequestTimeTooSkewed", Date="Tue, 01 Dec 2099 10:00:00 GMT")]
    client = client_at(server)
    read(client)
    read(client)
    now = format_datetime(datetime.datetime.now(datetime.UTC), usegmt=True)
    server.answers = [error("RequestTimeTooSkewed", Date=now)]
    read(client)  # the clock was put right
    wrong, right = (each.getMessage() for each in caplog.records if each.name == transport.__name__)
    assert re.match(r"The clock of this machine is \d+ s behind DynamoDB's", wrong)
    assert right == "The clock of this machine agrees with DynamoDB's again."


@pytest.mark.parametrize("code", transport.SKEWED)
def test_a_signature_that_is_refused_whatever_the_clock_is_made_again_once(serve, code):
    server = serve()
    dates = ["Tue, 01 Dec 2099 10:00:00 GMT", "Wed, 01 Dec 2100 10:00:00 GMT"]
    server.answers = [error(code, Date=date) for date in dates]
    with pytest.raises(StorageUnavailable, match=code):
        read(client_at(server))
    assert len(server.requests) == 2


def test_calls_that_another_one_overtook_are_signed_again_too(serve):
    server = serve()
    client = client_at(server)
    skewed = error("RequestTimeTooSkewed", Date="Tue, 01 Dec 2099 10:00:00 GMT")
    direct = botocore_of(client)
    read(client)

    http = direct._endpoint.http
    post = http.post

    def overtaken(headers, body):
        http.post = post
        server.answers = [skewed]
        read(client)  # another thread, which learns of the clock first
        server.answers = [skewed]
        return post(headers, body)

    http.post = overtaken
    assert read(client)["Item"]


class Containers:
    """The address at which a container gets credentials: new ones each time, for five minutes.

    botocore asks again whenever they end within ten, so each call may be signed with others.
    """

    def __init__(self, lifetime=datetime.timedelta(minutes=5)):
        self.secrets = {}
        expires = datetime.datetime.now(datetime.UTC) + lifetime
        containers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                number = len(containers.secrets)
                containers.secrets[f"AKIA{number}"] = f"secret-{number}"
                found = {
                    "AccessKeyId": f"AKIA{number}",
                    "SecretAccessKey": f"secret-{number}",
                    "Token": f"token-{number}",
                    "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/credentials"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def containers(monkeypatch):
    """Starts one, and makes botocore use it."""
    started = []
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    def start(**options):
        started.append(Containers(**options))
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", started[-1].url)
        return started[-1]

    yield start
    for container in started:
        container.stop()


def test_every_call_of_many_threads_is_signed_with_one_set_of_credentials(serve, containers):
    server, container = serve(), containers()
    client = client_at(server)

    def work():
        for _ in range(15):
            client.call("GetItem", Key={"interaction_id": {"S": "i"}})

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(container.secrets) > 10
    assert len(server.requests) == 30
    for request in server.requests:
        assert_signed(request, container.secrets)


def assert_signed(request, secrets):
    """By botocore's own signer, with what was given out together."""
    key = request["authorization"].partition("Credential=")[2].partition("/")[0]
    token = request["x-amz-security-token"]
    assert token == f"token-{key.removeprefix('AKIA')}"
    signed = {
        name: request[name]
        for name in ("content-type", "x-amz-date", "x-amz-security-token", "x-amz-target")
    }
    again = AWSRequest("POST", f"http://{request['Host']}/", signed, request["body"])
    again.context["timestamp"] = request["x-amz-date"]
    theirs = auth.SigV4Auth(Credentials(key, secrets[key], token), "dynamodb", clouds.REGION)
    text = theirs.string_to_sign(again, theirs.canonical_request(again))
    assert request["authorization"].endswith("Signature=" + theirs.signature(text, again))


def test_new_credentials_that_have_expired_already_are_told(serve, containers):
    server = serve()
    containers(lifetime=-datetime.timedelta(minutes=5))
    with pytest.raises(StorageUnavailable, match="Credential"):
        read(client_at(server))
    assert server.requests == []
