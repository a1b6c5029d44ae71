"""`find_answer`: the newest answer that a user got to exactly this message."""

from datetime import UTC, datetime, timedelta

import pytest

from storage import expiry
from storage.models.interaction import FIELDS
from storage.records.json import from_json
from storage.records.questions import Question
from tests.contract.calls import at, fields, short

ASKED = "What is a B-tree?"


class AnsweringContract:
    @pytest.fixture
    def answered(self, storage, make_interaction):
        """Saves an answer to ASKED; every field can be given."""

        def save(interaction_id, **given):
            values = {"message": ASKED, "response": "A tree.", "model_used": "m"} | given
            interaction = make_interaction(interaction_id=interaction_id, **values)
            storage.save_interaction_sync(interaction)
            return interaction

        return save

    def found(self, calls, **asked):
        """The id of the answer, asked twice: the second may come from the cache."""
        question = Question(**{"user_id": "ada", "message": ASKED} | asked)
        first, second = (calls.find_answer(question) for _ in range(2))
        assert fields(first) == fields(second)
        return first and first.interaction_id

    def test_nothing_was_answered_yet(self, calls):
        assert self.found(calls) is None

    def test_the_newest_is_given_whole(self, calls, answered):
        answered("new", created_at=at(seconds=1))
        answered("old", created_at=at())
        newest = answered("newest", created_at=at(seconds=2), response="all 😀")
        found = calls.find_answer(Question("ada", ASKED))
        assert fields(found) == fields(newest)

    def test_equal_times_go_by_id(self, calls, answered):
        for interaction_id in ("b", "c", "a"):
            answered(interaction_id, created_at=at())
        assert self.found(calls) == "c"

    @pytest.mark.parametrize("model_used", [None, "m"])
    @pytest.mark.parametrize("max_age", [None, timedelta(hours=2)])
    def test_what_is_dated_in_the_future_is_no_answer(self, calls, answered, model_used, max_age):
        now = datetime.now(UTC)
        asked = {"model_used": model_used, "max_age": max_age}
        answered("far", created_at=now + timedelta(days=1, hours=1))
        answered("farther", created_at=now + timedelta(days=400), model_used="other")
        assert self.found(calls, **asked) is None
        answered("before", created_at=now - timedelta(hours=1))
        assert self.found(calls, **asked) == "before"
        answered("of a clock ahead", created_at=now + timedelta(hours=23))
        assert self.found(calls, **asked) == "of a clock ahead"

    def test_json_is_the_same(self, calls, answered):
        answered("i")
        question = Question("ada", ASKED)
        assert fields(from_json(calls.find_answer_json(question))) == fields(
            calls.find_answer(question)
        )
        assert calls.find_answer_json(Question("ada", "other")) is None

    @pytest.mark.parametrize(
        "other",
        [
            "what is a B-tree?",
            "What is a B-tree? ",
            "What is a B-tree",
            "",
            "What is a\u00a0B-tree?",
        ],
        ids=short,
    )
    def test_a_message_that_differs_is_another(self, calls, answered, other):
        answered("i")
        assert self.found(calls, message=other) is None
        assert self.found(calls) == "i"

    def test_characters_that_only_look_alike_differ(self, calls, answered):
        answered("composed", message="é")
        assert self.found(calls, message="e\u0301") is None
        assert self.found(calls, message="é") == "composed"

    @pytest.mark.parametrize("message", ["", "😀" * 90_000, "%s", "'; --", "a\nb\tc"], ids=short)
    def test_any_message_can_be_asked(self, calls, answered, message):
        answered("i", message=message)
        assert self.found(calls, message=message) == "i"

    def test_another_users_answer_is_never_given(self, calls, answered):
        answered("bobs", user_id="bob")
        assert self.found(calls) is None
        assert self.found(calls, user_id="bob") == "bobs"

    def test_users_and_messages_do_not_run_together(self, calls, answered):
        answered("i", user_id="ada", message="b c")
        assert self.found(calls, user_id="ada b", message="c") is None

    def test_without_a_response_it_is_no_answer(self, calls, answered):
        answered("answered", created_at=at())
        answered("open", created_at=at(seconds=1), response="")
        assert self.found(calls) == "answered"

    def test_a_completion_makes_it_an_answer(self, calls, answered):
        answered("i", response="")
        assert self.found(calls) is None
        calls.update_interaction("i", {"response": "Arrived."})
        assert calls.find_answer(Question("ada", ASKED)).response == "Arrived."

    def test_a_model_can_be_asked_for(self, calls, answered):
        answered("x", model_used="x", created_at=at())
        answered("y", model_used="y", created_at=at(seconds=1))
        assert self.found(calls) == "y"
        assert self.found(calls, model_used="x") == "x"
        assert self.found(calls, model_used="y") == "y"
        assert self.found(calls, model_used="z") is None

    @pytest.mark.parametrize(
        ("age", "max_age", "is_given"), [(10, 60, True), (60, 10, False), (60, None, True)]
    )
    def test_it_can_be_too_old(self, calls, answered, age, max_age, is_given):
        answered("i", created_at=datetime.now(UTC) - timedelta(seconds=age))
        max_age = max_age and timedelta(seconds=max_age)
        assert self.found(calls, max_age=max_age) == ("i" if is_given else None)

    def test_a_cached_answer_becomes_too_old(self, calls, answered):
        answered("i", created_at=datetime.now(UTC) - timedelta(seconds=10))
        assert self.found(calls) == "i"
        assert self.found(calls, max_age=timedelta(seconds=5)) is None
        assert self.found(calls, max_age=timedelta.max) == "i"

    # What is written shows at once.

    def test_a_newer_answer_is_given_at_once(self, calls, answered):
        answered("old", created_at=at())
        assert self.found(calls) == "old"
        answered("new", created_at=at(seconds=1))
        assert self.found(calls) == "new"

    def test_one_of_a_batch_is_given_at_once(self, calls, answered, make_interaction):
        answered("old", created_at=at())
        assert self.found(calls) == "old"
        batch = [make_interaction(interaction_id="new", message=ASKED, response="r")]
        batch[0].created_at = at(seconds=1)
        calls.create_interactions([*batch, make_interaction(message="other")])
        assert self.found(calls) == "new"
        assert self.found(calls, model_used=batch[0].model_used) == "new"

    def test_a_created_one_is_given_at_once(self, calls, make_interaction):
        assert self.found(calls) is None
        calls.create_interaction(make_interaction(interaction_id="i", message=ASKED, response="r"))
        assert self.found(calls) == "i"

    def test_what_was_deleted_is_not_given(self, calls, answered):
        answered("old", created_at=at())
        answered("new", created_at=at(seconds=1))
        assert self.found(calls) == "new"
        calls.delete_interaction("new")
        assert self.found(calls) == "old"
        calls.delete_interaction("old")
        assert self.found(calls) is None

    def test_what_was_changed_is_given_as_it_is_now(self, calls, answered):
        answered("i")
        assert self.found(calls) == "i"
        calls.update_interaction("i", {"response": "Better.", "output_tokens": 7})
        found = calls.find_answer(Question("ada", ASKED))
        assert (found.response, found.output_tokens) == ("Better.", 7)

    @pytest.mark.parametrize(
        "change", [{"message": "Another question"}, {"response": ""}], ids=["message", "response"]
    )
    def test_a_save_can_make_it_no_answer(self, calls, answered, change):
        answered("old", created_at=at())
        answered("new", created_at=at(seconds=1))
        assert self.found(calls) == "new"
        answered("new", **change)
        assert self.found(calls) == "old"

    def test_a_save_can_make_it_an_answer_to_another_message(self, calls, answered):
        answered("i")
        assert self.found(calls, message="Another question") is None
        answered("i", message="Another question")
        assert self.found(calls, message="Another question") == "i"
        assert self.found(calls) is None

    def test_a_completion_can_make_it_no_answer(self, calls, answered):
        answered("i")
        assert self.found(calls) == "i"
        calls.update_interaction("i", {"response": ""})
        assert self.found(calls) is None

    def test_a_completion_can_give_it_to_another_model(self, calls, answered):
        answered("i", model_used="x")
        assert self.found(calls, model_used="x") == "i"
        assert self.found(calls, model_used="y") is None
        calls.update_interaction("i", {"model_used": "y"})
        assert self.found(calls, model_used="x") is None
        assert self.found(calls, model_used="y") == "i"
        assert self.found(calls) == "i"

    @pytest.mark.parametrize("seconds", [-3, 3])
    def test_a_save_of_an_older_one_leaves_it_where_it_is(self, calls, answered, seconds):
        """`created_at` stays what the first save made it, and the answer stays in its place."""
        answered("first", created_at=at(seconds=1))
        answered("second", created_at=at(seconds=2))
        saved = answered("first", created_at=at(seconds=seconds), response="again")
        assert saved.created_at == at(seconds=1)
        assert self.found(calls) == "second"
        calls.delete_interaction("second")
        assert fields(calls.find_answer(Question("ada", ASKED))) == fields(saved)

    def test_a_refused_write_changes_nothing(self, calls, answered, make_interaction):
        answered("i")
        taken = make_interaction(interaction_id="i", user_id="bob", message=ASKED, response="r")
        with pytest.raises(Exception, match="other content"):
            calls.save_interaction(taken)
        assert self.found(calls, user_id="bob") is None
        assert self.found(calls) == "i"

    def test_what_has_expired_is_not_given(self, calls, answered, monkeypatch):
        answered("old", created_at=at(microseconds=1))
        answered("new", created_at=at(microseconds=2))
        assert self.found(calls) == "new"
        monkeypatch.setattr(expiry, "cutoff", lambda: at(microseconds=1))
        assert self.found(calls) == "new"
        monkeypatch.setattr(expiry, "cutoff", lambda: at(microseconds=2))
        assert self.found(calls) is None

    # What cannot be.

    @pytest.mark.parametrize(
        "asked",
        [
            {"user_id": ""},
            {"user_id": "x" * 256},
            {"user_id": "a\nb"},
            {"message": "a\0b"},
            {"message": "\ud800"},
            {"model_used": ""},
            {"model_used": "m" * 256},
            {"model_used": "\ud800"},
        ],
        ids=short,
    )
    def test_what_no_interaction_can_have_has_no_answer(self, calls, answered, asked):
        answered("i")
        assert self.found(calls, **asked) is None

    def test_the_question_keeps_what_was_asked_out_of_logs(self):
        shown = repr(Question("the user", "the text", "model"))
        assert "the user" not in shown
        assert "the text" not in shown

    def test_every_field_counts(self, calls, answered):
        given = answered("i", input_tokens=3, output_tokens=4)
        found = calls.find_answer(Question("ada", ASKED, "m"))
        assert {n: getattr(found, n) for n in FIELDS} == {n: getattr(given, n) for n in FIELDS}
