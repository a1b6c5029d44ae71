"""Where calls past botocore go: where botocore's own would. When everything is left to botocore."""

import io
import logging
import sys

import pytest
from botocore.auth import SigV4Auth, _host_from_url
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials

from storage.dynamodb import curl, transport
from tests.clouds import REGION
from tests.storage.dynamodb.answering import botocore_of, client_of, read

pytestmark = pytest.mark.usefixtures("account")

ACCOUNT = {"AWS_ACCOUNT_ID": "123456789012"}
FIPS = {"AWS_USE_FIPS_ENDPOINT": "true"}
DUALSTACK = {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
LOCAL = "http://127.0.0.1:9"
PROXY = "http://127.0.0.1:8"
SERVICES = (
    "[default]\nservices = here\n[services here]\ndynamodb =\n  endpoint_url = http://[::1]:7\n"
)


class Body(io.BytesIO):
    def stream(self):
        yield self.read()


@pytest.fixture
def sent(monkeypatch):
    """The requests that a client would send, ours and botocore's for the same, by their sender."""

    def ours(http, headers, body):
        requests["ours"] = curl_url(http), dict(line.split(":", 1) for line in headers), body
        return curl.Reply("", 200, curl.Headers(), b"{}")

    def theirs(request, **_):
        requests["botocore"] = request.url, request.headers, request.body
        return AWSResponse(request.url, 200, {}, Body(b"{}"))

    def ask(client):
        direct = botocore_of(client)
        direct.client.meta.events.register_first("before-send.dynamodb", theirs)
        read(client)
        direct.client._make_api_call("GetItem", {"TableName": "unused", "Key": {}})
        return requests

    requests = {}
    monkeypatch.setattr(curl.Http, "post", ours)
    return ask


def curl_url(http):
    """As libcurl is told it."""
    return http._url + "/"


def scope(authorization):
    """Region and service."""
    return authorization.split("/")[2:4]


def decoded(text):
    return text.decode() if isinstance(text, bytes) else text


WHERE = {
    "a region": ({}, REGION, ""),
    "of China": ({}, "cn-north-1", ""),
    "FIPS": (FIPS, "us-east-1", ""),
    "FIPS of the government": (FIPS, "us-gov-west-1", ""),
    "FIPS by its region": ({}, "fips-us-east-1", ""),
    "dualstack": (DUALSTACK, REGION, ""),
    "dualstack and FIPS": (DUALSTACK | FIPS, "us-east-1", ""),
    "dualstack of China": (DUALSTACK, "cn-north-1", ""),
    "no region": ({}, "local", ""),
    "an account": (ACCOUNT, REGION, ""),
    "an account and dualstack": (ACCOUNT | DUALSTACK, REGION, ""),
    "an account that is not to be used": (
        ACCOUNT | {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"},
        REGION,
        "",
    ),
    "an account and FIPS": (ACCOUNT | FIPS, REGION, ""),
    "an endpoint": ({}, REGION, "http://127.0.0.1:8000"),
    "an endpoint with a slash": ({}, REGION, "http://127.0.0.1:8000/"),
    "an endpoint with the usual port": ({}, REGION, "https://dynamodb.example:443"),
    "an endpoint with the usual port of HTTP": ({}, REGION, "http://127.0.0.1:80"),
    "an endpoint in capitals": ({}, REGION, "https://DynamoDB.Example"),
    "an endpoint in IPv6": ({}, REGION, "http://[::1]:8000"),
    "AWS_ENDPOINT_URL": ({"AWS_ENDPOINT_URL": LOCAL}, REGION, ""),
    "AWS_ENDPOINT_URL_DYNAMODB": ({"AWS_ENDPOINT_URL_DYNAMODB": LOCAL}, REGION, ""),
    "AWS_ENDPOINT_URL that is to be ignored": (
        {"AWS_ENDPOINT_URL": LOCAL, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        REGION,
        "",
    ),
    "a session": ({"AWS_SESSION_TOKEN": "token"}, REGION, ""),
    "NO_PROXY alone": ({"NO_PROXY": "localhost"}, REGION, ""),
    "a proxy of the other scheme": ({"HTTP_PROXY": PROXY}, REGION, ""),
    "a proxy that botocore does not know": ({"ALL_PROXY": PROXY}, REGION, ""),
    "a proxy for others": (
        {"HTTPS_PROXY": PROXY, "NO_PROXY": "dynamodb.example"},
        REGION,
        "https://dynamodb.example",
    ),
}


@pytest.mark.parametrize("where", WHERE)
def test_requests_go_where_botocores_go_and_are_signed_for_it(sent, monkeypatch, where):
    environment, region, url = WHERE[where]
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert_alike(sent(client_of(url, region)))


def test_requests_go_where_the_file_of_settings_says(sent, account):
    account.write_text(SERVICES)
    requests = sent(client_of(""))
    assert requests["ours"][0] == "http://[::1]:7/"
    assert_alike(requests)


def assert_alike(requests):
    url, headers, body = requests["ours"]
    other_url, other_headers, _ = requests["botocore"]
    assert url == other_url
    assert scope(headers["authorization"]) == scope(decoded(other_headers["Authorization"]))
    assert headers.get("x-amz-security-token") == decoded(other_headers.get("X-Amz-Security-Token"))
    given = headers.pop("authorization").strip()
    # By botocore's own signer, for the address as botocore has it.
    again = AWSRequest("POST", other_url, headers, body)
    again.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials("test", "test"), "dynamodb", scope(given)[0])
    text = signer.string_to_sign(again, signer.canonical_request(again))
    assert given.endswith("Signature=" + signer.signature(text, again))
    assert headers["host"] == _host_from_url(other_url)


def test_the_certificates_are_those_that_botocore_trusts(monkeypatch, tmp_path, sent):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "own.pem"))
    client = client_of("https://dynamodb.example")
    sent(client)
    assert botocore_of(client)._endpoint.http._certificates == str(tmp_path / "own.pem")


# When everything is left to botocore.


def ways(client):
    return botocore_of(client)._operations


def test_without_anything_special_calls_go_past_botocore():
    assert ways(client_of(LOCAL)) == transport.OPERATIONS


ASIDE = {
    "a proxy": ({"HTTPS_PROXY": PROXY}, "https://dynamodb.example"),
    "a proxy for HTTP": ({"http_proxy": PROXY, "NO_PROXY": "localhost"}, "http://dynamodb.example"),
    "a path": ({"AWS_ENDPOINT_URL_DYNAMODB": f"{LOCAL}/path"}, ""),
    "a query": ({"AWS_ENDPOINT_URL": f"{LOCAL}/?query"}, ""),
    "a name and a password": ({}, "http://name:password@127.0.0.1:9"),
    "an endpoint to be discovered": ({"AWS_ENDPOINT_DISCOVERY_ENABLED": "True"}, ""),
}


@pytest.mark.parametrize("what", ASIDE)
def test_what_is_not_known_here_is_botocores(monkeypatch, what):
    environment, url = ASIDE[what]
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert ways(client_of(url)) == frozenset()


def test_an_endpoint_that_is_given_is_not_discovered(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_DISCOVERY_ENABLED", "true")
    assert ways(client_of(LOCAL)) == transport.OPERATIONS


def test_another_signature_is_botocores(account):
    account.write_text("[default]\ndynamodb =\n  signature_version = v3\n")
    assert ways(client_of(LOCAL)) == frozenset()


@pytest.mark.parametrize("config", [{"client_cert": "of.pem"}, {"proxies": {"http": PROXY}}])
def test_a_client_certificate_and_proxies_in_the_configuration_are_botocores(config):
    stock = botocore_of(client_of(LOCAL)).client
    meta = With(stock.meta, config=With(stock.meta.config, **config))
    assert transport.DirectClient(With(stock, meta=meta), 1, 1)._operations == frozenset()


def lacking(stock, owner, name):
    """botocore's client `stock`, whose `owner` (or itself, for "") has no `name`."""

    class Lacking:
        def __init__(self, whole):
            self._whole = whole

        def __getattr__(self, asked):
            if asked == name:
                raise AttributeError(f"no {name}")
            return getattr(self._whole, asked)

    class Changed:
        def __getattr__(self, asked):
            found = getattr(stock, asked)
            return Lacking(found) if asked == owner else found

    if owner == "http_session":
        session = Lacking(stock._endpoint.http_session)
        Changed._endpoint = property(lambda _: With(stock._endpoint, http_session=session))
    return Changed() if owner else Lacking(stock)


class With:
    """Another object, with some attributes of its own."""

    def __init__(self, whole, **changes):
        self._whole = whole
        self.__dict__.update(changes)

    def __getattr__(self, asked):
        return getattr(self._whole, asked)


PRIVATE = [
    ("", "_request_signer"),
    ("", "_endpoint"),
    ("", "_resolve_endpoint_ruleset"),
    ("_request_signer", "_credentials"),
    ("_request_signer", "_signature_version"),
    ("_request_signer", "region_name"),
    ("_endpoint", "http_session"),
    ("http_session", "_verify"),
]


@pytest.mark.parametrize(("owner", "name"), PRIVATE)
def test_a_botocore_that_lacks_a_private_name_does_everything_and_that_is_said(caplog, owner, name):
    stock = botocore_of(client_of(LOCAL)).client
    caplog.set_level(logging.WARNING)
    answered = {"Item": {}}
    botocores = With(lacking(stock, owner, name), _make_api_call=lambda *arguments: answered)
    made = transport.DirectClient(botocores, 1, 1)
    assert made._make_api_call("GetItem", {}) is answered
    assert made._operations == frozenset()
    assert caplog.text.count("This botocore is not known") == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"_resolve_endpoint_ruleset": lambda operation, parameters: None},
        {"_resolve_endpoint_ruleset": lambda *arguments: None},
        {"_resolve_endpoint_ruleset": lambda *arguments: ()},
    ],
    ids=["takes others", "gives another", "gives less"],
)
def test_a_botocore_whose_rules_have_changed_does_everything_and_that_is_said(caplog, changed):
    stock = botocore_of(client_of(LOCAL)).client
    caplog.set_level(logging.WARNING)
    answered = {"Item": {}}
    botocores = With(stock, _make_api_call=lambda *arguments: answered, **changed)
    made = transport.DirectClient(botocores, 1, 1)
    for _ in range(2):
        assert made._make_api_call("GetItem", {}) is answered
    assert caplog.text.count("This botocore is not known") == 1


def test_without_libcurl_everything_is_botocores(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycurl", None)
    assert ways(client_of("http://127.0.0.1:1")) == frozenset()
