"""The OpenAPI schema and its page: true, whole, and without the Internet."""

import encodings
import json
import re
from io import StringIO
from urllib.parse import urlsplit

import jsonschema_rs
import msgspec
import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.utils.translation import trans_real
from drf_spectacular.generators import SchemaGenerator

from chat.api.bodies import Completion, NewInteraction
from storage import limits
from storage.models.interaction import COMPLETED_FIELDS, CONTENT_FIELDS
from storage.records.json import to_dict, to_json
from tests.chat.calls import BATCH, LOOKUP, PROBLEM, mistakes, new, one, patch, post, saved

READING = {400, 401, 403, 429, 503}
WRITING = {*READING, 507}
BODY = {411, 413, 415}
INGEST = {200, 400, 401, 403, 413, 415, 503}
EXPORTS = ["export_traces", "export_logs"]
OPERATIONS = {
    "list_interactions": {200, *READING},
    "create_interaction": {200, 201, *WRITING, *BODY, 409, 410, 422},
    "create_interactions": {200, *WRITING, *BODY},
    "look_up_answer": {200, *READING, *BODY, 404},
    "search_interactions": {200, *READING},
    "get_interaction": {200, *READING, 404},
    "complete_interaction": {200, *WRITING, *BODY, 404, 409},
    "delete_interaction": {204, *WRITING, 404},
    "list_user_interactions": {200, 404, *READING},
    "export_user": {200, 404, *READING},
    "erase_user": {200, 202, 404, 409, *WRITING},
    "get_erasure": {200, 404, *READING},
    "get_status": {200, *READING},
    "get_usage": {200, *READING},
    "export_traces": INGEST,
    "export_logs": INGEST,
    "ingest_litellm": INGEST,
}


@pytest.fixture(scope="module")
def schema():
    """The schema as a client gets it."""
    return json.loads(Client().get("/api/schema/?format=json").content)


@pytest.fixture(scope="module")
def operations(schema):
    """The operations by their id."""
    return {
        operation["operationId"]: operation
        for path in schema["paths"].values()
        for operation in path.values()
    }


def test_it_is_valid_and_makes_no_warnings():
    written = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=written)
    assert yaml.safe_load(written.getvalue())["openapi"].startswith("3.1")


def test_what_is_served_is_what_the_command_writes(schema):
    written = StringIO()
    call_command("spectacular", "--format", "openapi-json", stdout=written)
    assert json.loads(written.getvalue()) == schema


def test_it_has_every_call_of_the_api(operations):
    assert set(operations) == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_documents_every_status_it_can_answer(operations, name):
    assert {int(status) for status in operations[name]["responses"]} == OPERATIONS[name]


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in EXPORTS])
def test_every_error_is_documented_as_a_problem(operations, name):
    for status, response in operations[name]["responses"].items():
        assert response["description"]
        if int(status) >= 400:
            assert response["content"] == {
                PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}
            }


@pytest.mark.parametrize("name", EXPORTS)
def test_otlp_has_two_media_types(operations, name):
    media_types = {"application/json", "application/x-protobuf"}
    assert set(operations[name]["requestBody"]["content"]) == media_types
    for response in operations[name]["responses"].values():
        assert set(response["content"]) == media_types


FOR_STAFF = [
    "list_interactions",
    "list_user_interactions",
    "search_interactions",
    "get_interaction",
    "get_status",
    "get_usage",
]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_how_to_authenticate(operations, name):
    allowed = {scheme for choice in operations[name]["security"] for scheme in choice}
    assert allowed == ({"ApiKey", "StaffSession"} if name in FOR_STAFF else {"ApiKey"})


def test_an_interaction_has_the_fields_of_a_stored_record(schema, make_interaction):
    described = schema["components"]["schemas"]["Interaction"]
    record = json.loads(to_json(make_interaction()))
    assert list(record) == list(to_dict(make_interaction()))
    assert list(described["properties"]) == [*record, "tier"]  # which archived ones have
    assert described["required"] == list(record)
    types = {"string": str, "integer": int}
    for name, value in record.items():
        assert isinstance(value, types[described["properties"][name]["type"]])


def test_what_a_client_may_send_is_what_the_model_lets_it_choose(schema):
    described = schema["components"]["schemas"]
    assert tuple(described["NewInteraction"]["properties"]) == CONTENT_FIELDS
    assert tuple(described["Completion"]["properties"]) == COMPLETED_FIELDS
    for name in ("NewInteraction", "NewInteractions", "Completion"):
        assert described[name]["additionalProperties"] is False


def test_the_limits_are_those_of_the_storage(schema):
    properties = schema["components"]["schemas"]["NewInteraction"]["properties"]
    for name in ("interaction_id", "user_id"):
        assert properties[name]["minLength"] == 1
        assert properties[name]["maxLength"] == limits.IDENTIFIER_MAX_LENGTH
        assert properties[name]["pattern"] == limits.IDENTIFIER_PATTERN
    for name in ("input_tokens", "output_tokens"):
        assert properties[name]["minimum"] == 0
        assert properties[name]["maximum"] == limits.TOKENS_MAX
    assert properties["model_used"]["maxLength"] == limits.MODEL_MAX_LENGTH
    assert str(limits.TEXT_MAX_BYTES) in properties["message"]["description"]


@pytest.mark.parametrize("struct", [NewInteraction, Completion])
def test_every_field_is_explained(schema, struct):
    properties = schema["components"]["schemas"][struct.__name__]["properties"]
    for field in msgspec.structs.fields(struct):
        assert properties[field.name]["description"]


@pytest.mark.parametrize("name", ["list_interactions", "list_user_interactions"])
def test_the_parameters_of_a_list_are_described(operations, name):
    found = {each["name"]: each for each in operations[name]["parameters"] if each["in"] == "query"}
    assert set(found) == {"limit", "cursor", "created_after", "created_before", "tier"}
    assert (
        found["limit"]["schema"] | {"default": 50, "minimum": 1, "maximum": 200}
        == (found["limit"]["schema"])
    )
    assert found["created_after"]["schema"]["format"] == "date-time"


def test_the_docs_page_refers_to_no_other_host():
    response = Client().get("/api/docs/")
    assert response.status_code == 200
    page = response.content.decode()
    # Everything that a browser would fetch, and every address in the scripts of the page.
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    addresses += re.findall(r"""["'](https?:[^"']*|//[^"']*)["']""", page)
    assert len(addresses) >= 3
    assert [each for each in addresses if urlsplit(each).netloc not in ("", "testserver")] == []


def test_the_docs_page_shows_the_schema_of_this_server():
    assert "/api/schema/" in Client().get("/api/docs/?script=").content.decode()


@pytest.mark.parametrize("path", [BATCH, LOOKUP])
def test_options_of_a_call_name_the_methods_that_it_documents(schema, client, path):
    for response in (client.options(path), client.put(path)):
        allowed = {method.lower() for method in response["Allow"].split(", ")}
        assert allowed == set(schema["paths"][path])


@pytest.mark.parametrize(("method", "path"), [("get", one("batch")), ("delete", one("lookup"))])
def test_an_interaction_may_still_have_such_an_id(client, method, path):
    saved(client, interaction_id="batch")
    saved(client, interaction_id="lookup")
    assert getattr(client, method)(path).status_code in (200, 204)


def fits(schema, name, body):
    """Whether a body is one by the schema."""
    document = {"$ref": f"#/components/schemas/{name}", "components": schema["components"]}
    return jsonschema_rs.validator_for(document).is_valid(body)


SOUND = [
    {},
    {"interaction_id": "a/b", "user_id": "..a"},
    {"user_id": " "},
    {"input_tokens": 5.0, "output_tokens": 0},
    {"message": "\n", "response": "\x07"},
]
BROKEN = [
    {"interaction_id": ""},
    {"user_id": "a\nb"},
    {"user_id": "\x7f"},
    {"user_id": "\x9f"},
    {"user_id": ".."},
    {"interaction_id": "a/./b"},
    {"interaction_id": "a/%2E%2e"},
    {"user_id": "x" * 256},
    {"model_used": "\0"},
    {"message": "a\0"},
    {"response": "\0a"},
    {"input_tokens": 5.5},
    {"input_tokens": 2**53},
    {"output_tokens": -1},
    {"output_tokens": "5"},
    {"other": 1},
]


@pytest.mark.parametrize("fields", SOUND, ids=ascii)
def test_the_server_takes_what_the_schema_takes(schema, client, fields):
    body = new(**fields)
    assert fits(schema, "NewInteraction", body)
    assert post(client, body).status_code == 201
    assert post(client, {"interactions": [body]}, path=BATCH).status_code == 200


@pytest.mark.parametrize("fields", BROKEN, ids=lambda fields: ascii(fields)[:40])
def test_the_schema_refuses_what_the_server_refuses(schema, client, fields):
    body = new(**fields)
    assert post(client, body).status_code == 400
    assert not fits(schema, "NewInteraction", body)


def test_5_0_is_an_integer_in_every_body(client):
    saved(client, interaction_id="i", response="r")
    assert patch(client, "i", {"input_tokens": 5.0}).json()["input_tokens"] == 5
    lookup = {"user_id": "ada", "message": "What is a B-tree?", "max_age": 60.0}
    assert post(client, lookup, path=LOOKUP).status_code == 200
    for bad in (5.5, 1e308, -1.0, "5.0", True, None):
        response = patch(client, "i", {"input_tokens": bad})
        assert set(mistakes(response)) == {"#/input_tokens"}, bad


@pytest.mark.parametrize("query", ["version=a%0Ab", "version=%F0%9F%98%80", "version=2", "lang=de"])
def test_of_a_query_only_the_format_counts(query):
    plain, asked = (Client().get(f"/api/schema/?format=json{more}") for more in ("", f"&{query}"))
    assert (asked.status_code, asked.content) == (200, plain.content)
    assert asked["Content-Disposition"] == plain["Content-Disposition"]


def test_no_translation_is_kept_of_a_language_that_somebody_sends():
    Client().get("/api/schema/?lang=xx-made-up")
    assert "xx-made-up" not in trans_real._translations


def test_it_is_made_once(monkeypatch):
    first = Client().get("/api/schema/")
    monkeypatch.setattr(SchemaGenerator, "get_schema", None)
    assert Client().get("/api/schema/").content == first.content


def test_parameters_in_accept_do_not_count():
    """Python would keep each name of an encoding that somebody gives there."""
    accept = "text/plain, application/json; q=0.9; x*=madeup''y"
    response = Client().get("/api/schema/", headers={"Accept": accept})
    assert response["Content-Type"] == "application/json"
    assert "madeup" not in encodings._cache
