"""No client can tell which way its request has taken: past Django, or through it.

Each sequence of requests is sent twice, from the same state: to a server that takes calls with a
key by itself, and to one that leaves all of them to Django. Random ones: ENTRANCE_EXAMPLES=300.
"""

import encodings
import io
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from chat.api import bodies
from chat.api import urls as api_urls
from config import middleware, urls, watched
from config.entrance import Entrance
from config.handler import Handler
from config.request_bodies import FORM_TYPE
from storage import get_storage
from storage.accounts import api_keys
from storage.exceptions import StorageFull, StorageUnavailable
from storage.limits import TEXT_MAX_BYTES
from storage.models import ApiKey, ChatInteraction
from storage.models.idempotency import IdempotencyRecord
from storage.startup import rate_limits
from tests import switches
from tests.chat.calls import BATCH, INTERACTIONS, LOOKUP, SEARCH, new, of_user, one
from tests.chat.limits import clock, limits

__all__ = ["clock", "limits"]

JSON = "application/json"
QUOTA = 100_000
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
VARYING = (
    "updated_at",
    "archived_until",
    "erasure_id",
    "requested_at",
    "removed_at",
    "scrubbed_at",
)
NOW = re.compile("|".join(f'(?<="{name}":")[^"]+' for name in VARYING).encode())
"""What differs from run to run."""


class Body(io.BytesIO):
    """A body that knows how much of it was read."""

    def __init__(self, content):
        super().__init__(content)
        self.given = 0

    def read(self, size=-1):
        found = super().read(size)
        self.given += len(found)
        return found


def request(method="GET", path=INTERACTIONS, body=b"", query="", key="service", **environ):
    """A request as a server hands it on; `None` leaves a part of it out."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": JSON if content else None,
        "CONTENT_LENGTH": str(len(content)) if content else None,
        "HTTP_HOST": "localhost:8000",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.url_scheme": "http",
    }
    parts |= environ
    return key, content, {name: value for name, value in parts.items() if value is not None}


@pytest.fixture(autouse=True)
def _same_ids(monkeypatch):
    """Each request would have an id of its own, whichever way it takes."""
    monkeypatch.setattr(watched, "uuid4", lambda: "the-id")


@pytest.fixture
def both(transactional_db, make_interaction, limits, clock, monkeypatch):
    """Two servers, and how to send a sequence of requests to each: gives what clients see."""
    limits.RATE_LIMIT_PER_KEY = limits.RATE_LIMIT_PER_ADDRESS = QUOTA
    keys = {
        "service": ApiKey.objects.create_key(name="service")[1],
        "bound": ApiKey.objects.create_key(name="bound", user_id="ada")[1],
        "eraser": ApiKey.objects.create_key(name="eraser", may_erase=True)[1],
    }
    shown = {name: f"Api-Key {key}" for name, key in keys.items()} | {
        "wrong": "Api-Key wrong.key",
        "empty": "Api-Key ",
        "no scheme": keys["service"],
        "lower case": f"api-key {keys['service']}",
        "basic": "Basic YTpi",
    }
    stored = [
        make_interaction(interaction_id=f"i-{number:03}", created_at=START, updated_at=START)
        for number in range(60)
    ]
    stored.append(make_interaction(interaction_id="eve-1", user_id="eve", message="é😀"))
    stored.append(make_interaction(interaction_id="é", user_id="née"))

    def begin():
        numbers = count(1)
        times = SimpleNamespace(now=lambda: START + timedelta(days=1, seconds=next(numbers)))
        monkeypatch.setattr(bodies, "timezone", times)
        monkeypatch.setattr(bodies, "new_interaction_id", lambda: f"made-{next(numbers)}")
        for model in (ChatInteraction, IdempotencyRecord):
            model.objects.all().delete()
        cache.clear()
        api_keys.forget()
        rate_limits.forget()
        for file in (limits.DATA_DIR / "limits").glob("*"):
            file.unlink()
        get_storage().copy_interactions(stored)

    def answered(handler, key, content, parts):
        body = Body(content)
        environ = parts | {"wsgi.input": body, "wsgi.errors": io.StringIO()}
        if key in shown:
            environ["HTTP_AUTHORIZATION"] = shown[key]
        started = []
        try:
            chunks = handler(environ, lambda status, headers: started.append((status, headers)))
            answer = b"".join(chunks)
            getattr(chunks, "close", lambda: None)()
        except Exception as error:  # of what no server hands on
            return type(error)
        status, headers = started[0]
        seen = [
            (name, re.sub("(?<=/erasures/)[^/]+", "", value))
            for name, value in headers
            if name != "Set-Cookie"  # it is random
        ]
        return status, seen, NOW.sub(b"", answer), body.given

    def send(requests, **servers):
        found = {}
        for name, handler in (servers or {"short": made.short, "long": made.long}).items():
            begin()
            with logged() as lines:
                found[name] = [answered(handler, *parts) for parts in requests], lines
        return found

    made = SimpleNamespace(short=Handler(), long=through_django(limits), send=send)
    made.service = shown["service"]
    return made


def through_django(settings):
    """A server that leaves all calls to Django, as it does when it meets unknown middleware."""
    middleware = settings.MIDDLEWARE
    settings.MIDDLEWARE = ["tests.entrances.unknown", *middleware]
    try:
        return Handler()
    finally:
        settings.MIDDLEWARE = middleware


def test_calls_are_taken_with_the_middleware_of_the_settings(both):
    assert answer_of(both, Entrance())[0] == "200 OK"


def test_middleware_that_is_not_known_sends_calls_through_django(both, settings):
    known = settings.MIDDLEWARE
    for place in range(len(known) + 1):
        settings.MIDDLEWARE = [*known[:place], "tests.entrances.unknown", *known[place:]]
        assert answer_of(both, Entrance()) is None, place


def test_and_so_does_a_list_that_lacks_what_is_known(both, settings):
    known = settings.MIDDLEWARE
    for place in range(len(known)):
        settings.MIDDLEWARE = known[:place] + known[place + 1 :]
        assert answer_of(both, Entrance()) is None, place


def answer_of(both, entrance):
    """The reply to a list."""
    _, _, environ = request()
    return entrance.answer(environ | {"HTTP_AUTHORIZATION": both.service})


class logged:  # noqa: N801  # used as a function
    """The lines that Django logs in this block."""

    def __enter__(self):
        lines = []
        self._handler = logging.Handler()
        self._handler.emit = lambda record: lines.append(
            (record.name, record.levelname, record.getMessage(), record.status_code)
        )
        logging.getLogger("django").addHandler(self._handler)
        return lines

    def __exit__(self, *error):
        logging.getLogger("django").removeHandler(self._handler)


def assert_same(both, requests):
    found = both.send(requests)
    (short, short_lines), (long, long_lines) = found["short"], found["long"]
    for parts, by_entrance, by_django in zip(requests, short, long, strict=True):
        assert by_entrance == by_django, parts
    assert short_lines == long_lines
    return short


SOUND = [
    request(),
    request(path=of_user("ada"), query="limit=20"),
    request(path=one("i-001")),
    request("POST", body=new()),
    request("POST", BATCH, {"interactions": [new(), new(interaction_id="x")]}),
    request("POST", LOOKUP, {"user_id": "ada", "message": "What is a B-tree?"}),
    request("PATCH", one("i-002"), {"response": "r"}),
    request("DELETE", one("i-003")),
]


def test_calls_with_a_key_are_answered_without_django(both, monkeypatch):
    monkeypatch.setattr(Handler, "get_response", None)
    found, _ = both.send(SOUND, short=both.short)["short"]
    assert [answer[0] for answer in found] == [
        *("200 OK", "200 OK", "200 OK", "201 Created"),
        *("200 OK", "200 OK", "200 OK", "204 No Content"),
    ]


def test_the_addresses_of_the_api_come_first():
    """The entrance looks at these only, and so must Django."""
    assert urls.urlpatterns[: len(api_urls.urlpatterns)] == api_urls.urlpatterns


PATHS = [
    *(
        INTERACTIONS,
        BATCH,
        LOOKUP,
        SEARCH,
        of_user("ada"),
        of_user("eve"),
        one("i-001"),
        one("eve-1"),
    ),
    *("/api/v1/users/ada/", "/api/v1/users/ada/export/", "/api/v1/erasures/e/", "/api/v1/"),
    *(one("missing"), INTERACTIONS[:-1], one("i-001")[:-1], f"/{INTERACTIONS}", "/api/v1/x/"),
    *(f"{INTERACTIONS}a/b/", f"{INTERACTIONS}/", f"{INTERACTIONS}i-001//", f"{INTERACTIONS}..//"),
    *("/api/v1/users/a/interactions/b/interactions/", "/api/v1/users/interactions/"),
    *(f"{INTERACTIONS}i-001/\n", f"{INTERACTIONS}i%2D001/", f"{INTERACTIONS}\xc3\xa9/", "/api/"),
    *(f"{INTERACTIONS}\xff/", f"{INTERACTIONS}i;x=1/", "/api/V1/interactions/", ""),
]
METHODS = ["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "TRACE", "get", "BREW"]
KEYS = ["service", "bound", "eraser", "wrong", "empty", "no scheme", "lower case", "basic", None]
QUERIES = [
    *("limit=2", "limit=2&cursor=", "cursor=x&limit=2", "limit=0&limit=1", "limit=x&y", "?", "&"),
    *("tier=archive", "tier=hot&limit=1", "created_after=2020-01-01T00:00:00Z&limit=3", "a=%zz"),
    *("q=b-tree&user_id=ada", "answered=1&tier=all", "tokens_min=5&limit=1&user_id=eve"),
    *("limit=2&cursor=x;y", "limit=%32", "limit=\xff", "limit=2&é=\xc3\xa9", "&".join("ab" * 600)),
]
TOO_LARGE = [new(response="x" * (TEXT_MAX_BYTES + 1)), b" " * (bodies.BODY_LIMIT + 1)]
BODIES = [
    *(new(), new(interaction_id="i-001"), new(interaction_id="y"), {}, b"{", b"\xff", b"[]"),
    *(new(user_id="eve"), new(message="\0"), new(model_used=""), {"response": "r"}, b'"x"'),
    *({"response": 5}, {"interactions": []}, {"interactions": [new(interaction_id="i-001"), {}]}),
    *({"user_id": "ada", "message": "unasked"}, *TOO_LARGE),
]
ODD = [
    {"HTTP_HOST": "evil.example"},
    {"HTTP_HOST": None},
    {"HTTP_HOST": "localhost"},
    {"HTTP_HOST": "LOCALHOST:80"},
    {"HTTP_HOST": "localhost:x"},
    {"HTTP_X_FORWARDED_HOST": "evil.example"},
    {"HTTP_X_FORWARDED_PROTO": "https"},
    {"HTTP_X_FORWARDED_FOR": "198.51.100.1"},
    {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE"},
    {"HTTP_ACCEPT": "text/html"},
    {"HTTP_COOKIE": "sessionid=x; csrftoken=y"},
    {"HTTP_ORIGIN": "https://evil.example"},
    {"HTTP_IF_NONE_MATCH": "*"},
    {"HTTP_IDEMPOTENCY_KEY": "k"},
    {"HTTP_IDEMPOTENCY_KEY": ""},
    {"HTTP_IDEMPOTENCY_KEY": "k" * 256},
    {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": None},
    {"SCRIPT_NAME": "/sub"},
    {"QUERY_STRING": None},
    {"wsgi.url_scheme": "https"},
    *({"CONTENT_LENGTH": length} for length in ("0", "", "1", "99999", "9999999", "+5", "-1", "x")),
    *(
        {"CONTENT_TYPE": media_type}
        for media_type in (
            *(None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"),
            *("application/json; charset=utf-8", "application/json;charset=utf-16", " "),
            *("Application/JSON", "text/plain; charset=utf-16", "application/json; charset=x"),
        )
    ),
]


def test_every_method_at_every_address(both):
    requests = [request(method, path) for path in PATHS for method in METHODS]
    assert_same(both, requests)


def test_every_key(both):
    assert_same(both, [(key, *parts[1:]) for parts in SOUND for key in KEYS])


def test_every_query(both):
    assert_same(
        both,
        [
            request(path=path, query=query)
            for path in (INTERACTIONS, of_user("ada"), one("i-001"), "/api/v1/users/ada/export/")
            for query in QUERIES
        ],
    )


def test_every_body(both):
    places = [("POST", INTERACTIONS), ("POST", BATCH), ("POST", LOOKUP), ("PATCH", one("i-001"))]
    found = assert_same(
        both,
        [
            request(*place, body, key=key)
            for body in BODIES
            for place in places
            for key in ("service", "bound")
        ],
    )
    of_each = len(places) * 2
    refused = [status[:3] for status, *_ in found[-len(TOO_LARGE) * of_each :]]
    assert refused == ["400"] * of_each + ["413"] * of_each, "they are too large"


def test_every_oddity(both):
    assert_same(
        both,
        [
            (key, content, {name: v for name, v in (parts | odd).items() if v is not None})
            for key, content, parts in [*SOUND, request(path=one("missing"), query="a=b")]
            for odd in ODD
        ],
    )


def test_no_more_is_read_than_was_declared(both):
    """Of a length below 0, which no server hands on, that is nothing."""
    lengths = ["0", "-1", "5", "99999"]
    body = json.dumps(new()).encode()
    found = assert_same(
        both, [request("POST", body=body, CONTENT_LENGTH=length) for length in lengths]
    )
    assert [answer[-1] for answer in found] == [0, 0, 5, len(body)]


def test_pages_lead_to_the_same_pages(both):
    """Each URL of a next page is asked for on its way, to the last one."""
    for path in (INTERACTIONS, of_user("ada")):
        requests = [request(path=path, query="limit=25")]
        for _ in range(3):
            *_, (*_, body, _) = assert_same(both, requests)
            following = json.loads(body)["next"]
            if following is not None:
                requests.append(request(path=path, query=following.partition("?")[2]))
        assert following is None


@pytest.mark.parametrize("odd", [{}, {"HTTP_X_FORWARDED_PROTO": "https"}])
@pytest.mark.parametrize("redirect", [True, False])
def test_https(both, settings, redirect, odd):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_SSL_REDIRECT = redirect
    settings.SECURE_HSTS_SECONDS = 3600
    both.short, both.long = Handler(), through_django(settings)
    found = assert_same(both, [(*rest, parts | odd) for *rest, parts in SOUND])
    assert ("Strict-Transport-Security", "max-age=3600") in found[0][1] or not odd
    assert (found[0][0][:3] == "301") == (redirect and not odd)


def test_a_quota(both, limits):
    limits.RATE_LIMIT_PER_KEY, limits.RATE_LIMIT_PER_ADDRESS = 3, 2
    found = assert_same(both, [*SOUND[:5], *[request(key="wrong")] * 4, request(key="bound")])
    assert sum(answer[0].startswith("429") for answer in found) == 5


@pytest.mark.parametrize(
    "error", [StorageUnavailable("away"), StorageFull("full"), RuntimeError("bug"), OSError("gone")]
)
@pytest.mark.parametrize("known", [True, False], ids=["after the key", "for the key"])
def test_a_store_that_fails(both, monkeypatch, error, known):
    def fail(*args, **kwargs):
        raise error

    storage = get_storage()
    monkeypatch.setattr(storage, "copy_interactions", lambda rows: None)
    if known:
        for name in (
            "read",
            "create",
            "create_many",
            "update",
            "delete",
            "newest_json",
            "find_answer",
        ):
            monkeypatch.setattr(type(storage.database), name, fail)
    else:
        monkeypatch.setattr(api_keys, "_look_up", fail)
    assert_same(both, SOUND)


TEXT = st.text(max_size=8)
ENCODED = st.one_of(TEXT.map(str.encode), st.binary(max_size=8)).map(lambda b: b.decode("latin-1"))
RANDOM = st.builds(
    lambda method, path, body, query, key, odd: request(
        method, path, body, query, key, **{k: v for part in odd for k, v in part.items()}
    ),
    st.sampled_from(["GET", "POST", "PATCH", "DELETE", *METHODS]),
    st.one_of(
        st.sampled_from(PATHS[:7]),
        st.sampled_from(PATHS),
        st.builds(
            "/api/v1/{}/{}/{}".format,
            st.sampled_from(["interactions", "users"]),
            ENCODED,
            st.sampled_from(["", "/", "interactions/"]),
        ),
    ),
    st.one_of(
        st.just(b""),
        st.sampled_from(BODIES[: -len(TOO_LARGE)]),
        st.binary(max_size=20),
        st.builds(
            lambda name, value: new(**{name: value}),
            st.sampled_from([*new()]),
            st.one_of(TEXT, st.integers(), st.none()),
        ),
    ),
    st.one_of(st.just(""), st.sampled_from(QUERIES), ENCODED),
    st.sampled_from(["service"] * 6 + KEYS),
    st.lists(st.sampled_from(ODD), max_size=2),
)


@given(st.lists(RANDOM, min_size=20, max_size=30))
@examples(
    max_examples=switches.number("ENTRANCE_EXAMPLES"),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_any_requests(both, requests):
    assert_same(both, requests)


@pytest.mark.parametrize(
    ("content_type", "query"),
    [
        *((f"{JSON}; charset={name}", "limit=%31") for name in ("base64", "undefined", "idna")),
        *((f"{JSON}; charset={name}", "&".join("ab" * 600)) for name in ("utf-8", "UTF-8")),
        *((odd, "limit=1") for odd in ("a/b; charset*=x''y", "; charset*0*=x", ";", "a/b; x*='")),
    ],
)
def test_a_content_type_without_sense_is_no_mistake_of_the_server(both, content_type, query):
    requests = [
        request(path=path, query=query, key=key, CONTENT_TYPE=content_type)
        for path in (INTERACTIONS, "/healthz", "/static/x", "/nothing")
        for key in ("service", "wrong", None)
    ]
    # Once: it is made anew each time.
    requests.append(request(path="/api/schema/", key=None, query=query, CONTENT_TYPE=content_type))
    answers = assert_same(both, requests)
    assert [status for status, *_ in answers if status >= "5"] == []


def test_a_form_of_an_odd_type_is_no_mistake_of_the_server(both):
    odd = ("; charset=base64", "; charset*=x''y", "; boundary=é", "; boundary*=x''y", "")
    types = [f"{kind}{end}" for kind in (FORM_TYPE, "multipart/form-data") for end in odd]
    requests = [
        request(
            "POST", "/admin/login/", b"--a\r\n", key=None, CONTENT_TYPE=each, HTTP_COOKIE=cookie
        )
        for each in types
        for cookie in (None, f"csrftoken={'a' * 32}")
    ]
    answers = assert_same(both, requests)
    assert [status for status, *_ in answers if status[0] != "4"] == []


@pytest.mark.parametrize("parameter", ["charset=madeup", "x*=madeup''y", "boundary=b", 'x=";;;'])
def test_parameters_of_a_content_type_are_not_parsed(both, monkeypatch, parameter):
    """Python keeps each name of an encoding, and takes seconds to parse a long header."""
    monkeypatch.setattr("django.utils.http.Message", None)
    requests = [
        request(*place, CONTENT_TYPE=f"{kind}; {parameter}")
        for place in (("GET", INTERACTIONS), ("GET", "/healthz"), ("POST", "/admin/login/", b"a"))
        for kind in (JSON, FORM_TYPE, "multipart/form-data")
    ]
    answers = assert_same(both, requests)
    assert {status for status, *_ in answers[:6]} == {"200 OK"}
    assert {status[:3] for status, *_ in answers[6:]} == {"415"}
    assert "madeup" not in encodings._cache


def test_a_query_is_in_utf_8_whatever_the_content_type_says(both):
    ways = (JSON, f"{JSON}; charset=latin-1", "text/plain; charset=utf-16")
    query = f"user_id={quote('née')}"
    requests = [request(path=SEARCH, query=query, CONTENT_TYPE=way) for way in ways]
    answers = assert_same(both, requests)
    assert {status for status, *_ in answers} == {"200 OK"}
    assert all('"user_id":"née"'.encode() in body for _, _, body, _ in answers)


def test_no_long_host_is_remembered(both):
    before = middleware._is_allowed.cache_info().currsize
    answers = assert_same(both, [request(HTTP_HOST="a" * 10_000, key=key) for key in KEYS])
    assert {status for status, *_ in answers} == {"400 Bad Request"}
    assert middleware._is_allowed.cache_info().currsize == before
