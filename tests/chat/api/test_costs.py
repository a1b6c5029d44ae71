"""No request costs much memory or gets a long answer, whatever is wrong with it."""

import io
import json
import sys
import tracemalloc
from itertools import chain, islice, product

import pytest

from chat.api.bodies import BATCH_BODY_LIMIT, BODY_LIMIT, NAMED_LIMIT
from chat.api.mistakes import ERRORS_MAX
from config.wsgi import application
from storage import limits
from storage.models import ApiKey
from tests.chat.calls import BATCH, INTERACTIONS, LOOKUP, mistakes, new, one, patch, post

MB = 1024 * 1024
ANSWER_MAX = 1 * MB
MEMORY_MAX = 50 * MB
"""Beside the body, and the texts as Python keeps them."""


@pytest.fixture
def cost(transactional_db):
    """Sends a request; gives the status, the answer, and the bytes at most in use meanwhile."""
    _, key = ApiKey.objects.create_key(name="test")

    def send(method, path, body=b"", query=""):
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            "HTTP_AUTHORIZATION": f"Api-Key {key}",
            "HTTP_HOST": "localhost",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
        }
        statuses = []
        tracemalloc.start()
        try:
            parts = application(
                environ, lambda status, headers, error=None: statuses.append(status)
            )
            answer = b"".join(parts)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return int(statuses[0].split()[0]), answer, peak

    return send


def names():
    """Short names of fields, all different."""
    letters = [chr(code) for code in range(32, 127) if chr(code) not in '"\\']
    return chain.from_iterable(map("".join, product(letters, repeat=n)) for n in range(1, 5))


def fields(size, start=""):
    """An object of about so many bytes, with as many fields as it can have."""
    found = '":0,"'.join(islice(names(), size // 8 - 8))
    return f'{{{start}"{found}":0}}'.encode()


def batch(item, count=1):
    return b'{"interactions":[' + repeated(item, count) + b"]}"


def repeated(item, count):
    return (item + b",") * (count - 1) + item


def as_many(item, limit):
    """How many of them are in a body that is hardly smaller."""
    return (limit - 100) // (len(item) + 1)


SMALL = b'{"user_id":"a","message":"","model_used":"m"}'
BAD_VALUES = {
    "interaction_id": "",
    "user_id": "\n",
    "message": "\0",
    "response": "\0",
    "model_used": "",
    "input_tokens": -1,
    "output_tokens": -1,
}


def filled(item):
    """A batch with as many as its body can have."""
    return batch(item, as_many(item, BATCH_BODY_LIMIT))


def list_of(item):
    return b"[" + repeated(item, as_many(item, BODY_LIMIT)) + b"]"


BODIES = {
    "a batch of empty items": (BATCH, lambda: filled(b"{}")),
    "a batch of small sound items": (BATCH, lambda: filled(SMALL)),
    "a batch of lists": (BATCH, lambda: filled(b"[]")),
    "a batch of unknown fields": (BATCH, lambda: batch(fields(1000), 1000)),
    "a batch with one large item": (BATCH, lambda: batch(fields(BATCH_BODY_LIMIT // 2))),
    "a batch of bad values": (BATCH, lambda: batch(json.dumps(BAD_VALUES).encode(), 1000)),
    "a batch of long names": (BATCH, lambda: batch(b'{"' + b"k" * 8_000 + b'":0}', 1000)),
    "a batch beside many fields": (
        BATCH,
        lambda: fields(BATCH_BODY_LIMIT // 2, '"interactions":[{}],'),
    ),
    "an object of lists": (
        INTERACTIONS,
        lambda: b'{"user_id":' + list_of(b'{"":0}') + b"}",
    ),
    "a list of objects": (INTERACTIONS, lambda: list_of(b"{}")),
    "a long name": (INTERACTIONS, lambda: b'{"' + b"k" * (BODY_LIMIT - 100) + b'":0}'),
    "many fields": (INTERACTIONS, lambda: fields(NAMED_LIMIT)),
    "very many fields": (INTERACTIONS, lambda: fields(BODY_LIMIT // 2)),
    "nested": (INTERACTIONS, lambda: b"[" * BODY_LIMIT),
    "a nested item": (BATCH, lambda: batch(b"[" * 100_000)),
}
"""Made by the test that sends it: together they take a second."""

COVERED = {"a batch of unknown fields": pytest.mark.exhaustive}  # "many fields", "bad values"


@pytest.mark.parametrize(
    ("path", "body"),
    [pytest.param(*given, id=name, marks=COVERED.get(name, ())) for name, given in BODIES.items()],
)
def test_a_bad_body_costs_little_and_gets_a_short_answer(cost, path, body):
    status, answer, memory = cost("POST", path, body())
    assert status == 400
    assert len(answer) < ANSWER_MAX
    assert memory < MEMORY_MAX
    problem = json.loads(answer)
    assert len(problem.get("errors", [])) <= ERRORS_MAX


@pytest.mark.parametrize("count", [4, 1000])
def test_the_largest_sound_batch_costs_little(cost, count):
    text = "😀" + "x" * (BATCH_BODY_LIMIT // count - 200)  # four bytes each in memory
    item = json.dumps(new(message=text), ensure_ascii=False).encode()
    status, _, memory = cost("POST", BATCH, batch(item, count))
    assert status == 200
    assert memory < MEMORY_MAX + 4 * count * len(text)


def test_the_largest_interaction_costs_little(cost):
    text = "😀" + "x" * (limits.TEXT_MAX_BYTES - 4)
    body = json.dumps(new(interaction_id="i", message=text), ensure_ascii=False).encode()
    for method, path, sent in [("POST", INTERACTIONS, body), ("GET", one("i"), b"")]:
        status, _, memory = cost(method, path, sent)
        assert status in (200, 201)
        # orjson asks for eight bytes for each of UTF-8, of which it touches those that it needs.
        assert memory < MEMORY_MAX / 2 + (4 + 8) * len(text)


@pytest.mark.exhaustive  # the same as in a POST
@pytest.mark.parametrize(("method", "path"), [("PATCH", one("i")), ("POST", LOOKUP)])
def test_other_calls_cost_no_more(cost, method, path):
    status, answer, memory = cost(method, path, fields(NAMED_LIMIT))
    assert status == 400
    assert len(answer) < ANSWER_MAX
    assert memory < MEMORY_MAX


def test_a_page_of_the_longest_texts_costs_little(cost, storage, make_interaction):
    text = "😀" + "x" * 389_000  # four bytes for each character in memory
    for _ in range(4):
        storage.create_interactions_sync([make_interaction(message=text) for _ in range(10)])
    status, answer, memory = cost("GET", INTERACTIONS, query="limit=200")
    assert status == 200
    page = json.loads(answer)
    assert len(page["results"]) == 10
    assert page["next"]
    assert memory < MEMORY_MAX + 10 * 4 * len(text)


@pytest.mark.parametrize("count", [900, 20_000])
@pytest.mark.parametrize("path", [INTERACTIONS, one("i")])
def test_many_parameters_cost_little_and_get_a_short_answer(cost, path, count):
    query = "&".join(f"p{number}=0" for number in range(count))
    status, answer, memory = cost("GET", path, query=query)
    assert status == 400
    assert len(answer) < ANSWER_MAX
    assert memory < MEMORY_MAX
    assert "parameter" in json.loads(answer)["detail"]


def test_an_answer_says_how_many_mistakes_there_are(client):
    item = new(**{f"field-{number}": 0 for number in range(300)})
    response = post(client, {"interactions": [item] * 50 + [new(user_id="")]}, path=BATCH)
    problem = response.json()
    assert len(problem["errors"]) == ERRORS_MAX == 100
    assert problem["error_count"] == 50 * 300 + 1
    assert problem["errors"][0]["pointer"] == "#/interactions/0/field-0"


def test_so_does_one_to_broken_limits(client):
    response = post(client, {"interactions": [new(user_id="", message="\0")] * 80}, path=BATCH)
    assert (len(response.json()["errors"]), response.json()["error_count"]) == (100, 160)


def test_and_one_to_parameters(client):
    response = client.get(INTERACTIONS, {f"p{number}": 0 for number in range(200)})
    assert (len(response.json()["errors"]), response.json()["error_count"]) == (100, 200)


@pytest.mark.parametrize(
    "name", ["k" * 100_000, "😀" * 100_000, "~/" * 100_000], ids=["k", "wide", "escaped"]
)
def test_a_long_name_is_cut(client, name):
    response = post(client, new(**{name: 0}))
    ((pointer, detail),) = mistakes(response).items()
    assert pointer.startswith("#/")
    assert pointer.endswith("…")
    assert max(len(pointer), len(detail)) <= 300
    response = client.get(INTERACTIONS, {name[:2000]: 0})
    ((parameter, _),) = mistakes(response).items()
    assert (len(parameter), parameter[-1]) == (300, "…")


def test_mistakes_of_types_and_of_values_are_told_together(client):
    bad = {"user_id": "", "input_tokens": "5", "more": 1, "message": "\0", "model_used": "m"}
    at_once = {"#/user_id", "#/input_tokens", "#/more", "#/message"}
    assert set(mistakes(post(client, bad))) == at_once
    response = post(client, {"interactions": [new(), bad, new(output_tokens=-1)]}, path=BATCH)
    expected = {f"#/interactions/1{pointer[1:]}" for pointer in at_once}
    assert set(mistakes(response)) == expected | {"#/interactions/2/output_tokens"}
    response = patch(client, "i", {"response": 5, "model_used": "", "output_tokens": -1})
    assert set(mistakes(response)) == {"#/response", "#/model_used", "#/output_tokens"}
    lookup = {"user_id": "", "message": 5, "max_age": 0}
    response = post(client, lookup, path=LOOKUP)
    assert set(mistakes(response)) == {"#/user_id", "#/message", "#/max_age"}


def test_a_text_that_is_too_long_is_told_beside_a_wrong_type(client, monkeypatch):
    monkeypatch.setattr(limits, "TEXT_MAX_BYTES", 390_000)
    response = post(client, new(message="x" * 390_001, input_tokens="5"))
    assert set(mistakes(response)) == {"#/message", "#/input_tokens"}
