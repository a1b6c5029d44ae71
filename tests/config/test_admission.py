"""Which requests a server process takes on, and what it refuses unread."""

import io
import json
import threading
import time
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import RequestFactory, override_settings

from config.admission import FORMS_OF_ONE, LARGE, LARGE_BODIES, Admission, Room, leave, wait
from config.handler import Handler
from config.request_bodies import FORM_LIMIT
from storage.models import ApiKey
from tests.chat.calls import INTERACTIONS, LOOKUP, PROBLEM, new, one

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def handler():
    """As a server process has it. What it takes is given back."""
    with override_settings(WHITENOISE_USE_FINDERS=True):
        return Handler()


class Unread:
    """A body that nobody may read."""

    def read(self, size=-1):
        raise AssertionError("It was read.")

    readline = read


class Body(io.BytesIO):
    """A body whose reader waits for the client until `meanwhile` has returned."""

    def __init__(self, content, meanwhile):
        super().__init__(content)
        self._meanwhile = meanwhile

    def read(self, size=-1):
        self._meanwhile()
        return super().read(size)


def request_of(method, path, **environ):
    """What the server is told of a request."""
    return RequestFactory().generic(method, path).environ | environ


def ask(handler, method, path, body=None, **environ):
    """The answer to a request: its status, headers and body."""
    environ = {"wsgi.input": body or io.BytesIO()} | environ
    request = request_of(method, path, **environ)
    answer = {}

    def start_response(status, headers):
        answer.update(status=int(status.split()[0]), headers=dict(headers))

    content = handler(request, start_response)
    return SimpleNamespace(**answer, content=content)


@pytest.fixture
def key(db):
    return {"HTTP_AUTHORIZATION": f"Api-Key {ApiKey.objects.create_key(name='test')[1]}"}


@pytest.mark.parametrize("length", [{"CONTENT_LENGTH": "5"}, {"HTTP_TRANSFER_ENCODING": "chunked"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/healthz"),
        ("POST", "/readyz"),
        ("POST", "/"),
        ("POST", "/api/docs/"),
        ("GET", "/admin/"),
        ("GET", INTERACTIONS),
        ("DELETE", f"{INTERACTIONS}some/"),
        ("POST", "/static/chat/interactions.css"),
    ],
)
def test_a_body_where_none_is_expected_is_refused_unread(handler, method, path, length):
    answer = ask(handler, method, path, Unread(), CONTENT_TYPE=FORM, **length)
    assert answer.status == 413
    assert b"A body is not expected here" in answer.content[0]
    expected = PROBLEM if path.startswith("/api/") else "text/plain; charset=utf-8"
    assert answer.headers["Content-Type"] == expected


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs/", "/api/otlp", "/api/public/otel"])
def test_an_exporter_that_sends_elsewhere_is_told_where(handler, path, caplog):
    answer = ask(handler, "POST", path, Unread(), CONTENT_LENGTH="5")
    assert answer.status == 404
    assert b"/api/otlp/v1/traces" in answer.content[0]
    assert "/api/otlp/v1/traces" in caplog.text


@pytest.mark.parametrize(
    ("status", "environ"),
    [
        (413, {"CONTENT_TYPE": FORM, "CONTENT_LENGTH": str(FORM_LIMIT + 1)}),
        (411, {"CONTENT_TYPE": FORM, "HTTP_TRANSFER_ENCODING": "chunked"}),
        (415, {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "2"}),
        (415, {"CONTENT_TYPE": "", "CONTENT_LENGTH": "2"}),
    ],
)
def test_a_form_that_cannot_be_one_is_refused_unread(handler, status, environ):
    assert ask(handler, "POST", "/admin/login/", Unread(), **environ).status == status


def test_a_form_that_ends_too_soon_is_not_taken_for_another(handler):
    body = io.BytesIO(b"username=ada")
    answer = ask(handler, "POST", "/admin/login/", body, CONTENT_TYPE=FORM, CONTENT_LENGTH="20")
    assert (answer.status, answer.content) == (400, [b"The body ended too soon."])


@pytest.fixture
def one_place(handler, monkeypatch):
    """Only one request at a time may work."""
    monkeypatch.setattr(handler.admission, "work", Room(1))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("one_place")
@pytest.mark.parametrize("kind", ["form", "call"])
def test_others_work_while_a_client_sends_its_body(handler, key, kind):
    answers = []

    def meanwhile():
        assert connection.connection is None, "it holds a connection to the database"
        other = threading.Thread(
            target=lambda: answers.append(ask(handler, "GET", INTERACTIONS, **key))
        )
        other.start()
        other.join()

    if kind == "form":
        content, path, environ = b"username=ada", "/admin/login/", {"CONTENT_TYPE": FORM}
    else:
        content, path = json.dumps(new()).encode(), INTERACTIONS
        environ = {"CONTENT_TYPE": "application/json", **key}
    environ["CONTENT_LENGTH"] = str(len(content))
    connection.close()  # the one that has made the key
    answer = ask(handler, "POST", path, Body(content, meanwhile), **environ)
    assert answer.status == (403 if kind == "form" else 201)  # the form has no CSRF token
    assert [other.status for other in answers] == [200]


@pytest.mark.django_db(transaction=True)
def test_reads_go_on_while_all_writers_wait(handler, key, monkeypatch):
    monkeypatch.setattr(handler.admission, "_writes", Room(0))
    assert ask(handler, "GET", INTERACTIONS, **key).status == 200
    content = json.dumps({"user_id": "ada", "message": "Never asked."}).encode()
    environ = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(content)), **key}
    assert ask(handler, "POST", LOOKUP, io.BytesIO(content), **environ).status == 404


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_some_places_to_work_are_for_reads_alone(threads):
    places = Admission(threads, 2).places_to_work(request_of("POST", INTERACTIONS))
    taken = [0, 0]
    for number, room in enumerate(places):
        while room.enter():
            taken[number] += 1
    assert taken == [max(1, threads * 3 // 4), threads]


def test_calls_that_read_work_in_the_order_in_which_they_came():
    (reads, work) = Admission(16, 1).places_to_work(request_of("GET", INTERACTIONS))
    came, worked = [], []

    def read(number):
        came.append(number)
        wait((reads, work))
        worked.append(number)
        leave((reads, work))

    wait((reads, work))
    threads = [threading.Thread(target=read, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(reads._line) <= number:
            time.sleep(0.001)
    assert not reads.enter()
    leave((reads, work))
    for thread in threads:
        thread.join()
    assert worked == came == [0, 1, 2, 3, 4]
    assert reads.enter()
    assert not reads.enter()


def test_pages_of_the_admin_do_not_wait_for_calls():
    admission = Admission(16, 1)
    assert admission.places_to_work(request_of("GET", "/admin/")) == (admission.work,)


def test_only_the_lookup_of_answers_is_a_read_among_posts():
    admission = Admission(16, 2)
    for method, path in (("DELETE", LOOKUP), ("PATCH", LOOKUP), ("DELETE", one("a/lookup"))):
        assert len(admission.places_to_work(request_of(method, path))) == 2


@pytest.mark.django_db(transaction=True)
def test_large_responses_wait_for_their_readers_in_places_of_their_own(
    handler, key, storage, make_interaction, monkeypatch
):
    storage.create_interactions_sync([make_interaction(message="x" * 380_000) for _ in range(4)])
    monkeypatch.setattr(handler.admission, "large_responses", Room(1))
    first = ask(handler, "GET", INTERACTIONS, **key)
    assert ask(handler, "GET", INTERACTIONS, **key).status == 503
    assert ask(handler, "GET", "/healthz").status == 200
    assert len(json.loads(b"".join(first.content))["results"]) == 4
    first.content.close()
    again = ask(handler, "GET", INTERACTIONS, **key)
    assert again.status == 200
    again.content.close()


@pytest.mark.django_db(transaction=True)
def test_so_does_a_large_answer_that_is_looked_up(
    handler, key, storage, make_interaction, monkeypatch
):
    storage.create_interactions_sync([make_interaction(message="Hi", response="x" * LARGE)])
    asked = json.dumps({"user_id": "ada", "message": "Hi"}).encode()
    environ = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(asked)), **key}
    monkeypatch.setattr(handler.admission, "large_responses", Room(1))
    first, second = (ask(handler, "POST", LOOKUP, io.BytesIO(asked), **environ) for _ in range(2))
    assert (first.status, second.status) == (200, 503)
    assert len(json.loads(b"".join(first.content))["response"]) == LARGE
    first.content.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", INTERACTIONS), ("PATCH", f"{INTERACTIONS}a/export/")],  # that is an id
)
def test_few_large_bodies_are_taken_at_once(handler, method, path):
    environ = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(2 * 1024 * 1024)}
    taken = []
    for _ in range(LARGE_BODIES // (2 * 1024 * 1024)):
        taken += handler.admission.rooms(request_of(method, path, **environ))
    assert all(room.enter() for room in taken)
    answer = ask(handler, method, path, Unread(), **environ)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    leave(taken)
    assert ask(handler, method, path, Unread(), **environ).status == 401


def test_one_large_body_is_saved_at_a_time_and_small_ones_meanwhile(handler):
    large = request_of("POST", INTERACTIONS, CONTENT_LENGTH=str(LARGE + 1))
    small = request_of("POST", INTERACTIONS, CONTENT_LENGTH=str(LARGE))
    places = handler.admission.places_to_work(large)
    assert all(room.enter() for room in places)
    assert not handler.admission.places_to_work(large)[0].enter()
    others = handler.admission.places_to_work(small)
    assert all(room.enter() for room in others)
    leave(others)
    leave(places)


def test_one_address_leaves_places_for_forms_to_others(handler):
    taken = 0
    while handler.admission.enter_form("192.0.2.1"):
        taken += 1
    assert taken == FORMS_OF_ONE
    assert handler.admission.enter_form("192.0.2.2")
    handler.admission.leave_form("192.0.2.2")
    for _ in range(taken):
        handler.admission.leave_form("192.0.2.1")
    assert handler.admission.enter_form("192.0.2.1")
    handler.admission.leave_form("192.0.2.1")


def test_a_method_that_no_address_has_is_refused_as_such(handler):
    answer = ask(handler, "TRACE", INTERACTIONS, Unread(), CONTENT_LENGTH="20")
    assert answer.status in (401, 405)


@pytest.mark.django_db(transaction=True)
def test_where_all_places_are_taken_a_call_is_refused_and_health_is_not(handler, key, monkeypatch):
    monkeypatch.setattr(handler.admission, "requests", Room(0))
    monkeypatch.setattr(handler.admission, "work", Room(0))
    answer = ask(handler, "GET", INTERACTIONS, **key)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert answer.headers["Content-Type"] == PROBLEM
    assert ask(handler, "GET", "/healthz").status == 200
    assert ask(handler, "GET", "/readyz").status == 200


@pytest.mark.django_db(transaction=True)
def test_where_too_many_send_a_call_is_refused_unread_and_gives_its_place_back(
    handler, key, monkeypatch
):
    monkeypatch.setattr(handler.admission, "_api_bodies", Room(0))
    monkeypatch.setattr(handler.admission, "work", Room(1))
    environ = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "20", **key}
    for _ in range(2):
        answer = ask(handler, "POST", INTERACTIONS, Unread(), **environ)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


def test_where_too_many_send_a_form_is_refused_unread(handler, monkeypatch):
    monkeypatch.setattr(handler.admission, "forms", Room(0))
    answer = ask(handler, "POST", "/admin/login/", Unread(), CONTENT_TYPE=FORM, CONTENT_LENGTH="20")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.django_db(transaction=True)
def test_a_stream_has_its_place_until_it_is_closed_but_does_not_work(handler, monkeypatch):
    monkeypatch.setattr(handler.admission, "files", Room(1))
    monkeypatch.setattr(handler.admission, "work", Room(1))
    path = "/static/chat/interactions.css"
    first = ask(handler, "GET", path)
    assert first.status == 200
    assert next(iter(first.content))
    assert ask(handler, "GET", path).status == 503
    assert ask(handler, "GET", "/admin/login/").status == 200
    first.content.close()
    second = ask(handler, "GET", path)
    assert second.status == 200
    second.content.close()
