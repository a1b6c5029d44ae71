"""Anything may stand in the cache: nothing of it is run, believed or left there."""

import pickle
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from storage.cache import metrics
from storage.models import ChatInteraction
from storage.records.json import to_json
from storage.telemetry.counters import settle_all
from tests.contract.calls import fields
from tests.storage.cache.conftest import ANSWER_KEY, ID_KEY, QUESTION

FIVE_MB = 5 * 1024 * 1024
TOUCHED = Path("/tmp") / f"touched-by-poison-{id(object())}"


class Harmful:
    """Touches a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (TOUCHED,)


EVES = ChatInteraction(
    interaction_id="j",
    user_id="eve",
    message=QUESTION.message,
    response="of another user",
    model_used="m",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
EVES_RECORD = orjson.loads(to_json(EVES))
OWN_RECORD = {**EVES_RECORD, "interaction_id": "i", "user_id": "ada"}


def value(found):
    return b"V" + orjson.dumps(found)


POISON = {
    "a pickle": pickle.dumps(Harmful()),
    "a pickle as value": b"V" + pickle.dumps(Harmful()),
    "half of JSON": b'V{"interaction_id": "i"',
    "no UTF-8": b"V\xff\xfe",
    "deep JSON": b"V" + b"[" * 200_000 + b"]" * 200_000,
    "endlessly deep JSON": b"V" + b"[" * 1_000_000,
    "5 MB of JSON": value({**OWN_RECORD, "response": "x" * FIVE_MB}),
    "5 MB": b"x" * FIVE_MB,
    "a lease of 5 MB": b"T" + b"x" * FIVE_MB,
    "another user's": value(EVES_RECORD),
    "another's id": value("j"),
    "an unknown id": value("nobody's"),
    "an id that cannot be": value("\n" * 300),
    "an empty id": value(""),
    "the id of a record of another kind": value("\x1fidempotency#0"),
    "a number": value(5),
    "a list": value(["i"]),
    "null": value(None),
    "no value": b"V",
    "nothing": b"",
    "a field too many": value({**OWN_RECORD, "admin": True}),
    "a field of another type": value({**OWN_RECORD, "input_tokens": "5"}),
    "no time": value({**OWN_RECORD, "created_at": "yesterday"}),
    "a time without offset": value({**OWN_RECORD, "created_at": "2026-01-01"}),
}


@pytest.fixture
def dropped():
    """How many entries were dropped and counted since."""

    def count():
        settle_all()
        return sum(
            metrics.DROPPED.labels(kind, reason)._value.get()
            for kind in ("interaction", "answer")
            for reason in ("unfit", "outdated")
        )

    before = count()
    return lambda: count() - before


@pytest.fixture(autouse=True)
def _nothing_runs():
    TOUCHED.unlink(missing_ok=True)
    yield
    assert not TOUCHED.exists()


NAMES = [*POISON, "no string"]
ON_A_CLUSTER = ["a pickle", "another user's", "5 MB", "no string"]
"""What comes out of a cluster goes the same way as what comes out of a server."""

EACH = [
    *(("valkey_server", name) for name in NAMES),
    *(("valkey_cluster", name) for name in ON_A_CLUSTER),
    *(
        pytest.param(server, name, marks=pytest.mark.exhaustive)
        for server in ("valkey_cluster", "redis_7", "redis_8", "redis_8_cluster")
        for name in NAMES
        if server != "valkey_cluster" or name not in ON_A_CLUSTER
    ),
]
each = pytest.mark.parametrize(("cache_url", "name"), EACH, indirect=["cache_url"])


def put(raw, key, name):
    if name == "no string":
        raw.delete(key)
        raw.rpush(key, "a", "list")
    else:
        raw.set(key, POISON[name])


@each
def test_a_read_by_id_gives_what_is_stored(cloud, stored, raw, name, dropped):
    put(raw, ID_KEY, name)
    assert fields(cloud.get_interaction_sync("i")) == fields(stored)
    assert dropped() == 1
    assert raw.get(ID_KEY) == b"V" + to_json(stored)  # and it is cached again


@each
def test_a_lookup_gives_what_is_stored(cloud, stored, raw, name, dropped):
    cloud.save_interaction_sync(EVES)
    put(raw, ANSWER_KEY, name)
    assert fields(cloud.find_answer_sync(QUESTION)) == fields(stored)
    assert dropped() == 1
    assert raw.get(ANSWER_KEY) == b'V"i"'


@each
def test_a_write_is_done_and_leaves_nothing_of_it(cloud, stored, raw, name):
    put(raw, ID_KEY, name)
    put(raw, ANSWER_KEY, name)
    updated = cloud.update_interaction_sync("i", {"response": "new"})
    assert cloud.get_interaction_sync("i").response == "new"
    assert fields(cloud.find_answer_sync(QUESTION)) == fields(updated)
    if name != "no string":
        assert raw.get(ID_KEY) != POISON[name]


def test_with_pickle_it_would_have_run():
    # The control: what a cache that unpickles does.
    pickle.loads(POISON["a pickle"])
    assert TOUCHED.exists()
    TOUCHED.unlink()


def test_a_forged_answer_to_another_users_question_is_not_given(cloud, stored, raw):
    cloud.save_interaction_sync(EVES)
    raw.set(ANSWER_KEY, value("j"))  # a pointer of ada's to what is eve's
    assert cloud.find_answer_sync(QUESTION).user_id == "ada"


def test_leases_of_others_are_left_alone(cloud, stored, raw, dropped):
    for cell in (b"T0123456789abcdef", b"B0123456789abcdef", b"X"):
        raw.set(ID_KEY, cell, px=50)
        assert fields(cloud.get_interaction_sync("i")) == fields(stored)
        assert raw.get(ID_KEY) in (cell, None)
        raw.delete(ID_KEY)
    assert dropped() == 0
