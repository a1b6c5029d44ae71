"""`Store` and `AsyncStore` against a real server."""

import traceback
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from chat_interaction_store import (
    Conflict,
    InvalidRequest,
    NewInteraction,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Store,
    StoreError,
    StoreUnavailable,
)

from tests.clients.conftest import Script


def new(user, number=0, **fields):
    values = {"user_id": user, "message": f"Question {number}", "model_used": "model-1"} | fields
    return NewInteraction(**values)


def test_what_is_saved_is_read(store, user):
    saved = store.save(
        user_id=user,
        message="What is a B-tree?\n🌳",
        response="A balanced tree.",
        model_used="model-1",
        input_tokens=6,
        output_tokens=4,
    )
    assert store.get(saved.interaction_id) == saved
    assert (saved.message, saved.response) == ("What is a B-tree?\n🌳", "A balanced tree.")
    assert (saved.user_id, saved.model_used) == (user, "model-1")
    assert (saved.input_tokens, saved.output_tokens, saved.archived) == (6, 4, False)
    assert saved.created_at.utcoffset() == timedelta(0)
    assert abs(saved.created_at - datetime.now(UTC)) < timedelta(hours=1)


def test_saving_again_with_the_same_id_or_key_changes_nothing(store, user):
    question = {"user_id": user, "message": "Hi", "model_used": "model-1"}
    first = store.save(**question, interaction_id=f"{user}/1")
    assert store.save(**question, interaction_id=f"{user}/1") == first
    with pytest.raises(Conflict) as caught:
        store.save(**question | {"message": "Ho"}, interaction_id=f"{user}/1")
    assert caught.value.status == 409
    second = store.save(**question, idempotency_key=user)
    assert store.save(**question, idempotency_key=user) == second
    assert len(list(store.list(user))) == 2


def test_an_answer_that_comes_later_completes(store, user):
    saved = store.save(user_id=user, message="Hi", model_used="model-1")
    done = store.complete(saved.interaction_id, response="Hello.", output_tokens=0, input_tokens=3)
    assert (done.response, done.input_tokens, done.model_used) == ("Hello.", 3, "model-1")
    assert store.get(saved.interaction_id) == done
    with pytest.raises(NotFound):
        store.complete(f"{user}-unknown", response="Hello.")


def test_usage_is_read_through_all_pages(store):
    report = store.usage(group_by=["user", "model"])
    assert report.end_date - report.start_date == timedelta(days=29)
    assert report.currency == "USD"
    day = report.end_date
    assert store.usage(start_date=day, end_date=day, user_id="nobody").results == []
    with pytest.raises(InvalidRequest):
        store.usage(group_by=["week"])


def test_pages_of_usage_are_one_report():
    def answer(request):
        page = request.url.params.get("cursor", "first")
        line = {"user_id": page, "interactions": 1, "unanswered": 0, "input_tokens": 2}
        line |= {"output_tokens": 3, "cost": "0.10", "unpriced_interactions": 0}
        following = "http://store/api/v1/usage/?cursor=second" if page == "first" else None
        days = {"start_date": "2026-11-01", "end_date": "2026-11-30"}
        if page == "second":
            assert days.items() <= dict(request.url.params).items(), "tomorrow, too"
        body = {"results": [line], "next": following, "currency": "EUR", "complete_until": None}
        return httpx.Response(200, json=body | days | {"unpriced_models": [f"of-{page}"]})

    with Store("http://store", "key", transport=httpx.MockTransport(answer)) as store:
        report = store.usage(group_by=["user"])
    assert [line.user_id for line in report.results] == ["first", "second"]
    assert sum(line.cost for line in report.results) == Decimal("0.2")
    assert report.unpriced_models == ["of-first", "of-second"]
    assert "first" not in repr(report.results[0]), "users stay out of logs"


def test_an_unknown_one_is_none(store, user):
    assert store.get(user) is None
    assert store.lookup(user_id=user, message="Hi") is None
    assert store.delete(user) is False


def test_a_deleted_one_is_gone(store, user):
    saved = store.save(user_id=user, message="Hi", model_used="model-1")
    assert store.delete(saved.interaction_id) is True
    assert store.get(saved.interaction_id) is None


def test_a_search_goes_through_all_pages(store, user):
    store.save_many(new(user, number, response="Café" * (number % 2)) for number in range(7))
    found = list(store.search("question CAFE", user_id=user, answered=True, page_size=2))
    assert sorted(one.message for one in found) == [f"Question {n}" for n in (1, 3, 5)]
    since = datetime.now(UTC) - timedelta(days=1)
    filters = {"model_used": "model-1", "tier": "hot", "tokens_max": 5, "created_after": since}
    assert len(list(store.search(user_id=user, answered=False, **filters))) == 4
    assert list(store.search(user_id=user, tokens_min=1)) == []
    with pytest.raises(InvalidRequest, match="letter or a digit"):
        list(store.search("?!", user_id=user))


def test_a_list_goes_through_all_pages(store, user):
    store.save_many(new(user, number) for number in range(7))
    found = list(store.list(user, page_size=3))
    assert sorted(one.message for one in found) == [f"Question {number}" for number in range(7)]
    assert found == sorted(found, key=lambda one: (one.created_at, one.interaction_id))[::-1]
    assert any(one.user_id == user for one in store.list(page_size=200))


def test_a_list_of_a_period(store, user):
    saved = store.save(user_id=user, message="Hi", model_used="model-1")
    moment, later = saved.created_at, saved.created_at + timedelta(microseconds=1)
    assert list(store.list(user, created_after=moment, created_before=later)) == [saved]
    assert list(store.list(user, created_after=later)) == []
    assert list(store.list(user, created_after=moment, created_before=later, archived=True)) == []
    with pytest.raises(ValueError, match="created_before must have a time zone"):
        list(store.list(user, created_before=datetime(2026, 1, 1)))


def test_an_id_with_odd_characters(store, user):
    name = f"{user}/ä?#%2F;🌳"
    saved = store.save(user_id=name, message="Hi", model_used="m", interaction_id=f"{name}-1")
    assert store.get(saved.interaction_id) == saved
    assert list(store.list(name)) == [saved]
    assert store.complete(saved.interaction_id, response="x").response == "x"


def test_the_newest_answer_is_looked_up(store, user):
    store.save(user_id=user, message="Hi", response="One", model_used="m-1")
    newest = store.save(user_id=user, message="Hi", response="Two", model_used="m-2")
    assert store.lookup(user_id=user, message="Hi") == newest
    found = store.lookup(user_id=user, message="Hi", model_used="m-1", max_age=86400)
    assert found.response == "One"


def test_many_are_saved_in_several_calls(store, user):
    many = [new(user, number, response="x" * 100) for number in range(1001)]
    outcomes = store.save_many(many)
    assert [one.interaction_id for one in outcomes] == [one.interaction_id for one in many]
    assert {one.status for one in outcomes} == {"created"}
    again = [many[0], new(user, 5000, interaction_id=many[1].interaction_id)]
    assert [one.status for one in store.save_many(again)] == ["unchanged", "conflict"]
    assert store.save_many([]) == []


def test_long_texts_are_divided_by_their_size(store, user):
    many = [new(user, number, response="ä" * 190_000) for number in range(21)]  # 8 MB
    assert {one.status for one in store.save_many(many)} == {"created"}


def test_mistakes_say_where_they_are(store, user):
    with pytest.raises(InvalidRequest) as caught:
        store.save(user_id="", message="Hi", model_used="m" * 256)
    assert {one.place for one in caught.value.mistakes} == {"#/user_id", "#/model_used"}
    assert "user_id" in str(caught.value)
    assert "1 to 255" in str(caught.value)
    with pytest.raises(InvalidRequest) as caught:
        store.save_many([new(user), new(user, input_tokens=-1)])
    assert [one.place for one in caught.value.mistakes] == ["#/interactions/1/input_tokens"]
    assert list(store.list(user)) == []


def test_a_text_that_utf8_cannot_express(store, user):
    with pytest.raises(ValueError, match="lone surrogates") as caught:
        store.save_many([new(user, response="secret \ud800")])
    assert "secret" not in str(caught.value)


def test_an_address_that_utf8_cannot_express(make_store):
    """Python's error has all of the text in its `repr`."""
    store = make_store(transport=httpx.MockTransport(lambda request: pytest.fail("sent")))
    for call in (
        lambda: store.get("secret \ud800"),
        lambda: list(store.list("secret \ud800")),
        lambda: list(store.search("secret \ud800")),
        lambda: store.usage(user_id="secret \ud800"),
    ):
        with pytest.raises(ValueError, match="lone surrogates") as caught:
            call()
        assert "secret" not in repr(caught.value)


def test_a_wrong_key(make_store, url):
    with pytest.raises(NotAuthenticated):
        make_store(url, "wrong.key").get("x")


def test_a_key_that_is_bound_to_a_user(make_store, url, key_of_ada):
    bound = make_store(url, key_of_ada)
    bound.save(user_id="ada", message="Hi", model_used="m")
    with pytest.raises(NotAllowed):
        bound.save(user_id="somebody else", message="Hi", model_used="m")
    with pytest.raises(NotAllowed):
        list(bound.list())


@pytest.mark.parametrize(
    "wrong", ["", "chat.example.org", "ftp://chat.example.org", "http://", "http://chat:port"]
)
def test_a_url_that_cannot_be_right(make_store, wrong):
    with pytest.raises(ValueError, match=r"url must be .* https://chat\.example\.org"):
        make_store(wrong)


@pytest.mark.parametrize("wrong", ["", "secret\n", " secret", "sécret"])
def test_a_key_that_cannot_be_right_is_not_shown(make_store, wrong):
    with pytest.raises(ValueError, match="key must be") as caught:
        make_store(key=wrong)
    assert "cret" not in str(caught.value)


NOT_THE_STORE = "not the store's: is this the URL of a chat interaction store?"


OTHERS = [
    ({"status_code": 200, "html": "<p>Welcome</p>"}, f"200 with an answer that is {NOT_THE_STORE}"),
    ({"status_code": 200, "json": {"status": "ok"}}, NOT_THE_STORE),
    ({"status_code": 200, "json": ["secret"]}, NOT_THE_STORE),
    ({"status_code": 200, "content": b"[" * 100_000}, NOT_THE_STORE),
    ({"status_code": 404, "html": "<p>Nothing</p>"}, f"404 with an answer that is {NOT_THE_STORE}"),
    (
        {"status_code": 301, "headers": {"Location": "https://a.test/x?y#z"}},
        "301: redirected to https://a.test/x; use that URL.",
    ),
    ({"status_code": 300, "headers": {"Location": "http://a:port"}}, NOT_THE_STORE),
]
CALLS = {
    "get": lambda store: store.get("x"),
    "delete": lambda store: store.delete("x"),
    "complete": lambda store: store.complete("x", response="y"),
    "lookup": lambda store: store.lookup(user_id="ada", message="Hi"),
    "list": lambda store: list(store.list("ada")),
    "search": lambda store: list(store.search("x")),
    "save_many": lambda store: store.save_many([new("ada")]),
    "usage": lambda store: store.usage(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_another_server_is_noticed(make_store, no_pauses, call):
    """It may be a proxy that is being deployed, so it is asked again."""
    for answer, said in OTHERS:
        script = Script(httpx.Response(**answer))
        with pytest.raises(StoreUnavailable) as caught:
            call(make_store(transport=script.transport, retries=2))
        assert str(caught.value).endswith(said)
        assert caught.value.status == answer["status_code"]
        assert len(script.requests) == 3
        assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_proxy_that_refuses_a_request_is_not_asked_again(make_store, no_pauses):
    script = Script(httpx.Response(400, html="<p>Bad request</p>"))
    with pytest.raises(StoreError, match="400 with an answer that is not the store's"):
        make_store(transport=script.transport).get("x")
    assert len(script.requests) == 1


def test_a_prefix_of_the_url_is_kept(make_store):
    seen = []

    def handle(request):
        seen.append(request.url.raw_path)
        return httpx.Response(204)

    make_store("https://a.test/chat/", transport=httpx.MockTransport(handle)).delete("a/b")
    assert seen == [b"/chat/api/v1/interactions/a%2Fb/"]


@pytest.mark.parametrize("name", [".", ".."])
def test_an_id_that_would_be_resolved_to_another_address(make_store, name):
    """`users/../interactions/` means the list of all users, before anything is sent."""
    store = make_store(transport=httpx.MockTransport(lambda request: pytest.fail("sent")))
    for call in (store.get, store.delete, store.complete, lambda name: list(store.list(name))):
        with pytest.raises(ValueError, match="dot"):
            call(name)


def test_a_value_that_is_too_long_for_an_address(make_store):
    """httpx makes no such URL, and its error is none of httpx.HTTPError."""
    store = make_store(transport=httpx.MockTransport(lambda request: pytest.fail("sent")))
    for call in (
        lambda: store.get("secret" * 20_000),
        lambda: list(store.search("secret" * 20_000)),
        lambda: list(store.list("secret" * 20_000)),
    ):
        with pytest.raises(InvalidRequest, match="too long") as caught:
            call()
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["search", "batch", "lookup"])
def test_an_id_that_is_the_name_of_a_call(store, user, name):
    """Of these, `search` has no address to be read by: a page of a search is there."""
    store.save(user_id=user, message="Hi", model_used="m", interaction_id=name)
    if name == "search":
        with pytest.raises(ValueError, match="address is that of searches"):
            store.get(name)
    else:
        assert store.get(name).message == "Hi"
    assert store.complete(name, response="Hello.").response == "Hello."
    assert [one.interaction_id for one in store.list(user)] == [name]
    assert store.delete(name) is True
    assert list(store.list(user)) == []


def test_ids_that_are_made_later_sort_later(monkeypatch):
    from chat_interaction_store import interactions

    start = 1_800_000_000_000_000_000
    moments = [start, start + 500, start + 999_999, start + 1_000_000, start + 10**15]
    monkeypatch.setattr(interactions.time, "time_ns", iter(moments).__next__)
    ids = [interactions.new_interaction_id() for _ in moments]
    assert ids == sorted(ids)
    assert {uuid.UUID(one).version for one in ids} == {7}
