"""Requests made from the schema: no mistake of the server, no answer that is not documented.

More of them: SCHEMATHESIS_EXAMPLES=500. They are the same in every run.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from config.wsgi import application
from storage.models import ApiKey
from tests import switches

pytestmark = pytest.mark.every_backend(exhaustive=True)  # neither knows the schema
pytest_plugins = ["schemathesis.pytest.plugin"]  # pyproject.toml turns it off for all others

CONFIG = {
    "seed": 1,
    "generation": {
        "deterministic": True,
        "database": "none",
        "max-examples": switches.number("SCHEMATHESIS_EXAMPLES"),
    },
}

# A schema cannot say which cursors were signed or how long two texts are together, so some
# requests that fit it are refused.
BEYOND_A_SCHEMA = [positive_data_acceptance]


def read_to_the_end(environ, start_response):
    """As a server does: an export that nobody closes keeps its place, and there are 16 of them."""
    body = application(environ, start_response)
    try:
        return [b"".join(body)]
    finally:
        if hasattr(body, "close"):
            body.close()


@schemathesis.serializer("application/x-protobuf")
def as_it_is(context, value):
    """What is made for this media type is bytes, none of which are likely to be OTLP."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(autouse=True)
def _named_as_before(request):
    """schemathesis 4.32 reads the name of a test where pytest 9.2 has it no more."""
    request.node._nodeid = request.node.nodeid


@pytest.fixture
def documented(transactional_db):
    """The schema. Requests are made from it by the test alone, not while tests are collected."""
    config = SchemathesisConfig.from_dict(CONFIG)
    return schemathesis.openapi.from_wsgi("/api/schema/", read_to_the_end, config=config)


@pytest.fixture
def key(transactional_db):
    """A service-wide key."""
    return ApiKey.objects.create_key(name="schemathesis", may_erase=True)[1]


@schemathesis.pytest.from_fixture("documented").parametrize()
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented(case, key, storage, make_interaction):
    # What is asked for most; an earlier request may have deleted it.
    if storage.get_json_sync("0") is None:
        storage.create_interactions_sync([make_interaction(interaction_id="0", user_id="0")])
    headers = {"Authorization": f"Api-Key {key}"}
    case.call_and_validate(headers=headers, excluded_checks=BEYOND_A_SCHEMA)
