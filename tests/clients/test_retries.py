"""What is tried again, with which key, and when."""

import httpx
import pytest
from chat_interaction_store import NotFound, Refused, StoreUnavailable

from tests.clients.conftest import Script

QUESTION = {"user_id": "ada", "message": "Hi", "model_used": "m"}
STORED = QUESTION | {
    "interaction_id": "one",
    "response": "",
    "input_tokens": 0,
    "output_tokens": 0,
    "created_at": "2026-11-30T12:00:00.000000Z",
    "updated_at": "2026-11-30T12:00:00.000000Z",
}


def problem(status, **headers):
    body = {"type": "urn:problem-type:x", "title": "Title", "status": status, "detail": "Detail."}
    headers["Content-Type"] = "application/problem+json"
    return lambda request: httpx.Response(status, json=body, headers=headers)


def created(request):
    return httpx.Response(201, json=STORED)


@pytest.mark.parametrize(
    "failure",
    [
        problem(429),
        problem(500),
        problem(502),
        problem(503),
        problem(507),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("closed"),
        httpx.TooManyRedirects("round and round"),
        lambda request: httpx.Response(
            200, headers={"Content-Encoding": "gzip"}, content=b"no gzip"
        ),
    ],
)
def test_a_save_is_repeated_with_the_same_key_and_body(make_store, no_pauses, failure):
    script = Script(failure, failure, created)
    saved = make_store(transport=script.transport).save(**QUESTION)
    assert saved.interaction_id == "one"
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert len({request.content for request in script.requests}) == 1
    assert len(script.requests) == 3


def test_two_saves_have_two_keys(make_store):
    script = Script(created)
    store = make_store(transport=script.transport)
    store.save(**QUESTION)
    store.save(**QUESTION)
    first, second = script.requests
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]


def test_a_lost_answer_makes_no_second_interaction(make_store, no_pauses, server, url, user):
    """The store has saved it, and the connection breaks."""
    lost = []

    class Losing(httpx.HTTPTransport, httpx.AsyncHTTPTransport):
        def __init__(self):
            httpx.HTTPTransport.__init__(self)
            self._sync_pool = self._pool
            httpx.AsyncHTTPTransport.__init__(self)
            self._async_pool = self._pool

        def handle_request(self, request):
            self._pool = self._sync_pool
            return self._lose(request, httpx.HTTPTransport.handle_request(self, request))

        async def handle_async_request(self, request):
            self._pool = self._async_pool
            response = await httpx.AsyncHTTPTransport.handle_async_request(self, request)
            return self._lose(request, response)

        def _lose(self, request, response):
            if not lost:
                lost.append(response.status_code)
                raise httpx.ReadError("broken", request=request)
            return response

    store = make_store(url, server.key, transport=Losing())
    saved = store.save(user_id=user, message="Hi", model_used="m")
    assert lost == [201]
    assert list(store.list(user)) == [saved]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422])
def test_a_refusal_is_not_repeated(make_store, no_pauses, status):
    script = Script(problem(status))
    with pytest.raises(Refused, match=rf"^{status} Title: Detail\.$") as caught:
        make_store(transport=script.transport).save(**QUESTION)
    assert (caught.value.status, caught.value.detail) == (status, "Detail.")
    assert isinstance(caught.value, NotFound) == (status == 404)
    assert len(script.requests) == 1


def test_it_ends_after_so_many_attempts(make_store, no_pauses):
    script = Script(problem(503, **{"Retry-After": "7"}))
    with pytest.raises(StoreUnavailable, match="503") as caught:
        make_store(transport=script.transport, retries=2).save(**QUESTION)
    assert (len(script.requests), caught.value.status, caught.value.retry_after) == (3, 503, 7.0)
    assert no_pauses == [7.0, 7.0]


def test_no_answer_at_all(make_store, no_pauses):
    script = Script(httpx.ConnectError("refused"))
    with pytest.raises(StoreUnavailable, match="ConnectError") as caught:
        make_store(transport=script.transport, retries=0).get("x")
    assert caught.value.status is None


def test_one_that_asks_for_too_long_is_told_at_once(make_store, no_pauses):
    script = Script(problem(429, **{"Retry-After": "3600"}))
    with pytest.raises(StoreUnavailable) as caught:
        make_store(transport=script.transport).get("x")
    assert (len(script.requests), caught.value.retry_after, no_pauses) == (1, 3600.0, [])


def test_a_date_in_retry_after(make_store, no_pauses):
    script = Script(problem(503, **{"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}))
    with pytest.raises(StoreUnavailable) as caught:
        make_store(transport=script.transport).get("x")
    assert caught.value.retry_after > 86400
    past = Script(problem(503, **{"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), created)
    make_store(transport=past.transport).get("x")
    assert no_pauses == [0.0]


@pytest.mark.parametrize(
    "header",
    ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2100 00:00:00 +99999999999999"],
)
def test_a_date_that_python_has_not_is_none(make_store, no_pauses, header):
    script = Script(problem(503, **{"Retry-After": header}), created)
    assert make_store(transport=script.transport).save(**QUESTION).interaction_id == "one"


def test_pauses_grow_at_random_and_have_an_end(make_store, monkeypatch):
    from chat_interaction_store import retries

    error = StoreUnavailable("x")
    for attempt in range(2000):
        seconds = retries.delay(attempt, error)
        longest = min(retries.LONGEST_DELAY, retries.FIRST_DELAY * 2 ** min(attempt, 20))
        assert longest / 2 <= seconds <= longest
    assert len({retries.delay(3, error) for _ in range(5)}) == 5
