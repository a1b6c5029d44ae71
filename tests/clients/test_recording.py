"""What becomes of a call of a model. The packages themselves are in clients/python/tests_tools."""

import httpx
import pytest
from chat_interaction_store import AsyncStore, Store, openai_formats
from chat_interaction_store.recording import Answer, Bounded, Question, Recorder

from tests.clients.conftest import Script
from tests.clients.test_background import PATIENCE, all_saved

QUESTION = Question("Hi")
TOOLS = ("call_1", "call_2")


class Recording:
    """A recorder, and what its store was sent."""

    def __init__(self, user_id="ada"):
        self._script = Script(all_saved)
        self.store = Store("http://store.test", "some.key", transport=self._script.transport)
        self.recorder = Recorder(self.store, user_id)

    def record(self, question, answer):
        self.recorder.record(self.recorder.user(), question, answer, "asked-for")

    def kept(self):
        assert self.store.background().flush(PATIENCE)
        items = [
            item
            for request in self._script.requests
            for item in httpx.Response(200, content=request.content).json()["interactions"]
        ]
        names = ("message", "response", "model_used", "input_tokens", "output_tokens")
        return [tuple(item[name] for name in names) for item in items]


@pytest.fixture
def recording():
    made = Recording()
    yield made
    made.store.close(timeout=0)


def test_an_answer_is_an_interaction(recording):
    recording.record(QUESTION, Answer("Hello.", "m", 5, 2))
    recording.record(QUESTION, Answer("Hello."))
    assert recording.kept() == [("Hi", "Hello.", "m", 5, 2), ("Hi", "Hello.", "asked-for", 0, 0)]


def test_the_tokens_of_steps_go_to_the_answer_once(recording):
    recording.record(QUESTION, Answer("", "m", 10, 1, TOOLS))
    recording.record(Question("Hi", TOOLS), Answer("", "m", 20, 2, ("call_3",)))
    recording.record(Question("Hi", ("call_3", *TOOLS)), Answer("Done.", "m", 40, 4))
    recording.record(Question("Hi", ("call_3", *TOOLS)), Answer("Again.", "m", 1, 1))
    assert recording.kept() == [("Hi", "Done.", "m", 70, 7), ("Hi", "Again.", "m", 1, 1)]
    assert recording.store.background().dropped == {}


def test_the_question_of_a_step_is_that_of_its_answer(recording):
    recording.record(QUESTION, Answer("", "m", 10, 1, TOOLS))
    recording.record(Question(None, TOOLS[:1]), Answer("Done.", "m", 40, 4))
    assert recording.kept() == [("Hi", "Done.", "m", 50, 5)]


def test_two_users_whose_tool_calls_have_the_same_id():
    """Some models count their tool calls anew in each conversation."""
    talking = []
    recording = Recording(lambda: talking[-1])
    tool = ("functions.weather:0",)
    for user, tokens in (("ada", 10), ("bob", 20)):
        talking.append(user)
        recording.record(Question(f"Secret of {user}"), Answer("", "m", tokens, 1, tool))
    for user, tokens in (("ada", 30), ("bob", 40)):
        talking.append(user)
        recording.record(Question(f"Secret of {user}", tool), Answer("Rain.", "m", tokens, 1))
    assert recording.kept() == [
        ("Secret of ada", "Rain.", "m", 40, 2),
        ("Secret of bob", "Rain.", "m", 60, 2),
    ]
    recording.store.close(timeout=0)


def test_two_conversations_of_a_user_whose_tool_calls_have_the_same_id(recording):
    tool = ("functions.weather:0",)
    recording.record(Question("Rain?"), Answer("", "m", 10, 1, tool))
    recording.record(Question("Snow?"), Answer("", "m", 20, 1, tool))
    recording.record(Question("Rain?", tool), Answer("Yes.", "m", 30, 1))
    recording.record(Question("Snow?", tool), Answer("No.", "m", 40, 1))
    assert recording.kept() == [("Rain?", "Yes.", "m", 40, 2), ("Snow?", "No.", "m", 60, 2)]


def test_a_stream_that_was_cut_within_a_character(recording):
    """JavaScript counts an emoji as two, and passes on its halves in two chunks, or one of them."""
    stream = openai_formats.ChatStream()
    for chunk in ("Hi \ud83c", "\udf33", " \ud83c"):
        stream.add({"model": "m", "choices": [{"delta": {"content": chunk}}]})
    recording.record(Question("Tree? \udf33"), stream.answer())
    assert recording.kept() == [("Tree? \ufffd", "Hi \U0001f333 \ufffd", "m", 0, 0)]


def test_what_is_not_stored_is_counted(recording):
    recording.record(Question(None), Answer("Hello."))
    recording.record(QUESTION, Answer(""))
    recording.recorder.record(None, QUESTION, Answer("Hello."))
    with recording.recorder.guard():
        raise KeyError("Hi")
    assert recording.kept() == []
    assert recording.store.background().dropped == {
        "no text of a user": 1,
        "no text of an answer": 1,
        "no user_id": 1,
        "not recorded (KeyError)": 1,
    }


def test_what_ends_the_program_is_not_held_back(recording):
    with pytest.raises(KeyboardInterrupt), recording.recorder.guard():
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("given", "otherwise", "found"),
    [
        ("ada", "bob", "ada"),
        (lambda: "ada", "bob", "ada"),
        (lambda: None, "bob", "bob"),
        (None, "bob", "bob"),
        (None, None, None),
        (None, object(), None),
        (None, "", None),
    ],
)
def test_whose_it_is(given, otherwise, found):
    assert Recording(given).recorder.user(otherwise) == found


def test_any_kind_of_store_will_do():
    store = AsyncStore("http://store.test", "some.key", verify=False)
    queue = store.background()
    for kind in (store, queue):
        Recorder(kind, "ada").leave_out("test")
    assert queue.dropped == {"test": 2}
    queue.close(timeout=0)


def test_what_never_ends_is_forgotten():
    kept = Bounded(3)
    for number in range(10):
        kept.put([number], str(number))
    assert kept.take(range(10)) == ["7", "8", "9"]
    assert kept.take(range(10)) == []


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("messages", "message", "answered"),
    [
        ([{"role": "system", "content": "x"}, {"role": "user", "content": "Hi"}], "Hi", ()),
        (
            [
                {"role": "user", "content": "Earlier"},
                {"role": "tool", "tool_call_id": "old", "content": "x"},
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, IMAGE]},
                {"role": "assistant", "tool_calls": [{"id": "a"}, {"id": "b"}]},
                {"role": "tool", "tool_call_id": "a", "content": "x"},
                {"role": "tool", "tool_call_id": "b", "content": "x"},
            ],
            "Hi",
            ("b", "a"),
        ),
        ([{"role": "user", "content": [IMAGE]}], None, ()),
        ([{"role": "user", "content": None}], None, ()),
        ([{"role": "system", "content": "x"}], None, ()),
        ([], None, ()),
        (None, None, ()),
        (iter([{"role": "user", "content": "Hi"}]), None, ()),
    ],
)
def test_the_question_of_a_chat_completion(messages, message, answered):
    question = openai_formats.chat_question(messages)
    assert (question.message, question.answered) == (message, answered)


@pytest.mark.parametrize(
    ("given", "message", "answered"),
    [
        ("Hi", "Hi", ()),
        ("", None, ()),
        ([{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}], "Hi", ()),
        ([{"type": "function_call_output", "call_id": "a", "output": "x"}], None, ("a",)),
        (None, None, ()),
    ],
)
def test_the_question_of_a_response(given, message, answered):
    question = openai_formats.response_question(given)
    assert (question.message, question.answered) == (message, answered)


@pytest.mark.parametrize("odd", [None, {}, [], "x", 5, {"choices": []}, {"choices": [None]}])
def test_odd_answers_are_no_text(odd):
    for read in (openai_formats.chat_answer, openai_formats.response_answer):
        assert read(odd).text == ""
    for stream in (openai_formats.ChatStream(), openai_formats.ResponseStream()):
        stream.add(odd)
        assert stream.answer().text == ""


def test_reasoning_is_no_answer_and_a_refusal_is():
    output = [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hmm."}]},
        {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    usage = {"input_tokens": 5, "output_tokens": 2}
    answer = openai_formats.response_answer({"model": "m", "output": output, "usage": usage})
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("No.", 5, 2)


def test_a_response_that_ends_early_has_the_text_so_far():
    stream = openai_formats.ResponseStream()
    stream.add({"type": "response.created", "response": {"model": "m", "output": []}})
    for kind in ("reasoning_text", "output_text", "output_text"):
        stream.add({"type": f"response.{kind}.delta", "delta": kind[:3]})
    assert (stream.answer().text, stream.answer().model) == ("outout", "m")
