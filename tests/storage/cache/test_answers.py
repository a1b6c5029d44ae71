"""Answers in Redis: hits ask the database nothing, and never give what is no answer any more."""

import pytest

from storage.cache import keys, leases
from storage.records.questions import Question
from tests.contract.calls import fields
from tests.storage.cache.conftest import ANSWER_KEY, ID_KEY, QUESTION


def found(cloud):
    answer = cloud.find_answer_sync(QUESTION)
    return answer and answer.interaction_id


def test_a_hit_asks_the_database_nothing(cloud, stored, reads):
    assert found(cloud) == "i"
    assert reads == [QUESTION, "i"]
    reads.clear()
    assert fields(cloud.find_answer_sync(QUESTION)) == fields(stored)
    assert fields(cloud.get_interaction_sync("i")) == fields(stored)
    assert reads == []


def test_the_cache_holds_the_id_only(cloud, stored, raw):
    found(cloud)
    assert raw.get(ANSWER_KEY) == b'V"i"'
    assert 0 < raw.ttl(ANSWER_KEY) <= 300


def test_a_changed_answer_is_given_as_it_is_now(cloud, stored, reads):
    found(cloud)
    cloud.update_interaction_sync("i", {"response": "Better."})
    assert cloud.find_answer_sync(QUESTION).response == "Better."


@pytest.mark.parametrize("write", ["save", "delete", "empty"])
def test_what_is_no_answer_any_more_is_dropped_by_the_read(
    cloud, stored, raw, write, make_interaction
):
    found(cloud)
    pointer = raw.get(ANSWER_KEY)
    if write == "save":
        cloud.save_interaction_sync(make_interaction(interaction_id="i", message="another"))
    elif write == "delete":
        cloud.delete_interaction_sync("i")
    else:
        cloud.save_interaction_sync(make_interaction(interaction_id="i", response=""))
    raw.set(ANSWER_KEY, pointer)  # as if it had stayed
    assert found(cloud) is None
    assert raw.get(ANSWER_KEY) != pointer


@pytest.mark.parametrize("model_used", [None, "model-1"])
def test_a_write_marks_what_may_have_a_newer_answer_now(
    cloud, stored, raw, model_used, make_interaction
):
    question = Question("ada", QUESTION.message, model_used)
    key = keys.answer_key(question)
    for write in (
        lambda: cloud.save_interaction_sync(make_interaction(interaction_id="j")),
        lambda: cloud.create_interaction_sync(make_interaction(interaction_id="k")),
        lambda: cloud.create_interactions_sync([make_interaction(interaction_id="l")]),
        lambda: cloud.update_interaction_sync("l", {"response": "r"}),
    ):
        raw.delete(key)
        cloud.find_answer_sync(question)
        assert leases.value_of(raw.get(key)) is not None
        write()
        assert raw.get(key) == leases.BUSY
        assert 50 < raw.ttl(key) <= 60


def test_what_has_no_response_marks_nothing(cloud, stored, raw, make_interaction):
    found(cloud)
    cloud.save_interaction_sync(make_interaction(interaction_id="j", response=""))
    assert raw.get(ANSWER_KEY) == b'V"i"'


def test_nothing_found_leaves_no_lease_behind(cloud, raw):
    assert found(cloud) is None
    assert raw.get(ANSWER_KEY) is None
    assert cloud.get_interaction_sync("i") is None
    assert raw.get(ID_KEY) is None
