"""A real Prometheus scrapes a server that is throttled: its panels show it, and alerts fire.

Prometheus is a package of Debian; without it these tests are skipped. `test_alerts.py` and
`tests/chat/api/test_metrics_guide.py` compare names and labels without it.
"""

import json
import re

import pytest

from tests.chat.calls import BATCH, INTERACTIONS, new, of_user, one
from tests.chat.processes import Server, run
from tests.prometheus import prometheus
from tests.prometheus.expressions import ALERTS, PANELS
from tests.prometheus.prometheus import Prometheus
from tests.servers import start_valkey, wait_for
from tests.system.faults import proxy as faults
from tests.system.faults.proxy import Proxy

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(
        prometheus.PROGRAM is None, reason="there is no Prometheus: apt-get install prometheus"
    ),
]

FIRE = {("ChatDynamoDBThrottled", "PutItem"), ("ChatDatabaseFails", ""), ("ChatErrors", "")}
"""The alerts that this use of the server is to fire, with the operation that they name."""


@pytest.fixture(scope="module")
def proxy(dynamodb_server):
    return Proxy(dynamodb_server.port)


@pytest.fixture(scope="module")
def server(proxy, tmp_path_factory):
    """A server on DynamoDB, behind the proxy, and Redis; with the headers of a call."""
    folder = tmp_path_factory.mktemp("server")
    redis = start_valkey()
    values = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "a secret key that is long enough for this test",
        "ALLOWED_HOSTS": "127.0.0.1",
        "HTTPS": "false",
        "AWS_REGION": "eu-central-1",
        "DYNAMODB_ENDPOINT_URL": proxy.url,
        "DYNAMODB_TABLE": "watched",
        "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
        "RATE_LIMIT_PER_ADDRESS": "5",
    }
    for words in (
        ["dynamodb_table", "create"],
        ["migrate"],
        ["archive_interactions"],
        ["purge_interactions"],
        ["backup"],
        ["cache_audit"],
    ):
        assert run(folder, *words, **values).returncode == 0
    made = run(folder, "create_api_key", "prometheus", **values).stdout.decode()
    started = Server(folder, **values).wait_until_it_answers()
    yield started, re.search(r"\b\w{8}\.\w{32}\b", made)[0]
    started.stop()
    redis.terminate()


@pytest.fixture(scope="module")
def scraped(server, proxy, tmp_path_factory):
    """The Prometheus, after the server was used until alerts fire."""
    started, key = server
    made = Prometheus(tmp_path_factory.mktemp("prometheus"), started.port, key)
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}

    def call(method, path, value=None):
        body = None if value is None else json.dumps(value)
        started.request(method, path, body, headers)

    def use():
        proxy.fail("GetItem", faults.throttle)
        proxy.fail("PutItem", *[faults.throttle] * 3)  # which is once too often
        proxy.fail("BatchExecuteStatement", faults.unwritten(faults.half, "ThrottlingError"))
        for _ in range(2):
            call("POST", INTERACTIONS, new())
            call("GET", one("unknown"))
        call("POST", BATCH, {"interactions": [new(), new()]})
        call("GET", of_user("ada"))
        call("POST", "/api/v1/ingest/litellm/", "not a record")
        started.request("GET", INTERACTIONS, None, {"Authorization": "Api-Key a.b"})
        return made.fired() >= FIRE

    try:
        wait_for(use, f"the alerts {FIRE}")
        yield made
    finally:
        made.stop()


def test_alerts_fire(scraped):
    assert scraped.fired() >= FIRE


def test_prometheus_evaluates_every_rule(scraped):
    (group,) = scraped.ask("rules")["groups"]
    assert {rule["name"]: rule["health"] for rule in group["rules"]} == dict.fromkeys(ALERTS, "ok")


@pytest.mark.parametrize("panel", PANELS)
def test_the_panel_shows_something(scraped, panel):
    assert scraped.shows(PANELS[panel])
