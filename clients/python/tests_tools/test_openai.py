"""`record` with the real `openai` package."""

import asyncio
import gc

import openai
import pytest
from pydantic import BaseModel

from chat_interaction_store import Store
from chat_interaction_store.openai import record

HELLO = ("Hi", "Hello Ada.", "m-2026", 111, 22)
UNCOUNTED = ("Hi", "Hello Ada.", "m-2026", 0, 0)
HISTORY = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Earlier"},
    {"role": "assistant", "content": "Yes?"},
]


class Weather(BaseModel):
    city: str = ""


def asking(text):
    return {"model": "m", "n": 2, "messages": [*HISTORY, {"role": "user", "content": text}]}


class Awaited:
    """An asynchronous client whose calls are waited for, so that one test is for both."""

    def __init__(self, client, loop):
        self.client = client
        self.loop = loop

    def chat(self, **fields):
        return self._gather(self.client.chat.completions.create(**fields))

    def respond(self, **fields):
        return self._gather(self.client.responses.create(**fields))

    def parse(self, **fields):
        return self.loop.run_until_complete(self.client.chat.completions.parse(**fields))

    def leave(self, after, how, **fields):
        async def main():
            stream = await self.client.chat.completions.create(stream=True, **fields)
            for _ in range(after):
                await stream.__anext__()
            if how == "close":
                await stream.close()
            elif how == "with":
                async with stream:
                    pass
            del stream
            gc.collect()
            await asyncio.sleep(0.1)

        self.loop.run_until_complete(main())

    def _gather(self, call):
        async def main():
            result = await call
            if isinstance(result, openai.AsyncStream):
                return [chunk async for chunk in result]
            return result

        return self.loop.run_until_complete(main())


class Direct:
    def __init__(self, client):
        self.client = client

    def chat(self, **fields):
        return self._gather(self.client.chat.completions.create(**fields))

    def respond(self, **fields):
        return self._gather(self.client.responses.create(**fields))

    def parse(self, **fields):
        return self.client.chat.completions.parse(**fields)

    def leave(self, after, how, **fields):
        stream = self.client.chat.completions.create(stream=True, **fields)
        for _ in range(after):
            next(stream)
        if how == "close":
            stream.close()
        elif how == "with":
            with stream:
                pass
        del stream
        gc.collect()  # openai's streams refer to themselves

    def _gather(self, result):
        return list(result) if isinstance(result, openai.Stream) else result


@pytest.fixture(params=["sync", "async"])
def make(request, model, store, user):
    """Makes a client: recorded in the store, or not at all."""
    loop = asyncio.new_event_loop()

    def make(**recording):
        options = {"base_url": model.url, "api_key": "x", "max_retries": 0}
        is_sync = request.param == "sync"
        client = openai.OpenAI(**options) if is_sync else openai.AsyncOpenAI(**options)
        if recording != {"store": None}:
            client = record(client, **{"store": store, "user_id": user, **recording})
        return Direct(client) if is_sync else Awaited(client, loop)

    yield make
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("Hi", "Hello Ada."), ("refuse", "I will not."), ("think", "Hello Ada.")],
)
@pytest.mark.parametrize("stream", [False, True])
def test_both_apis_whole_and_streamed(make, kept, asked, answer, stream):
    expected = (asked, answer, "m-2026", 111, 22)
    make().chat(**asking(asked), stream=stream)
    assert kept() == [expected]
    make().respond(model="m", input=[*HISTORY, {"role": "user", "content": asked}], stream=stream)
    assert kept() == [expected, expected]
    make().respond(model="m", input=asked, stream=stream)
    assert kept() == [expected] * 3


@pytest.mark.parametrize("options", [{}, {"stream": True}])
def test_the_caller_gets_what_it_would_get_without_us(make, kept, options):
    for asked in ("Hi", "refuse", "tool", "nothing", "think"):
        plain, recorded = make(store=None), make()
        assert recorded.chat(**asking(asked), **options) == plain.chat(**asking(asked), **options)
        fields = {"model": "m", "input": asked, **options}
        assert recorded.respond(**fields) == plain.respond(**fields)
        assert type(recorded.client) is type(plain.client)


def test_types_of_streams_are_unchanged(store, model, user):
    client = openai.OpenAI(base_url=model.url, api_key="x")
    recorded = record(client, store=store, user_id=user)
    stream = recorded.chat.completions.create(**asking("Hi"), stream=True)
    assert type(stream) is openai.Stream
    assert stream.response.status_code == 200
    stream.close()
    assert client.chat.completions.create(**asking("Hi")).choices[0].message.content
    assert store.background().dropped == {"no text of an answer": 1}


def test_usage_is_asked_for_unless_the_caller_has_said_something(make, model, kept):
    make().chat(**asking("Hi"), stream=True)
    assert model.bodies[-1]["stream_options"] == {"include_usage": True}
    chunks = make().chat(**asking("Hi"), stream=True, stream_options={"include_usage": True})
    assert chunks[-1].usage.prompt_tokens == 111
    chunks = make().chat(**asking("Hi"), stream=True, stream_options={"include_usage": False})
    assert model.bodies[-1]["stream_options"] == {"include_usage": False}
    extra = {"stream_options": {"include_usage": False}}
    make().chat(**asking("Hi"), stream=True, extra_body=extra)
    assert kept() == [HELLO, HELLO, UNCOUNTED, UNCOUNTED]
    make().chat(**asking("Hi"))
    assert "stream_options" not in model.bodies[-1]


@pytest.mark.parametrize("asked", ["old", "strict"])
def test_a_server_that_does_not_know_usage_in_streams(make, model, kept, asked):
    make().chat(**asking(asked), stream=True)
    assert kept() == [(asked, "Hello Ada.", "m-2026", 0, 0)]
    assert [("stream_options" in body) for body in model.bodies] == [True, False]


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_unchanged(make, kept, stream):
    with pytest.raises(openai.BadRequestError, match="Unknown field") as caught:
        make().chat(**asking("bad"), stream=stream)
    assert not isinstance(caught.value.__context__, openai.OpenAIError)
    with pytest.raises(TypeError):
        make().chat(messages=[])
    assert kept() == []


@pytest.mark.parametrize("how", ["close", "with", "forgotten"])
def test_a_stream_that_is_left_half_way(make, kept, how):
    make().leave(3, how, **asking("Hi"))
    assert kept() == [("Hi", "Hello", "m-2026", 0, 0)]


def test_a_stream_that_breaks_off(make, kept):
    make().chat(**asking("break"), stream=True)
    make().respond(model="m", input="break", stream=True)
    assert kept() == [("break", "Hello Ada.", "m-2026", 0, 0)] * 2


@pytest.mark.parametrize("stream", [False, True])
def test_the_tokens_of_a_step_that_only_calls_tools_go_to_its_answer(make, kept, stream):
    client = make()
    client.chat(**asking("tool"), stream=stream)
    assert kept() == []
    calls = [
        {"id": name, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        for name in ("call_1", "call_2")
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "Sunny"} for call in calls]
    request = asking("tool")
    request["messages"] += [{"role": "assistant", "tool_calls": calls}, *results]
    client.chat(**request, stream=stream)
    assert kept() == [("tool", "Hello Ada.", "m-2026", 222, 44)]


@pytest.mark.parametrize("stream", [False, True])
def test_the_question_of_a_step_whose_history_the_provider_keeps(make, kept, stream):
    client = make()
    client.respond(model="m", input="tool", stream=stream)
    result = {"type": "function_call_output", "call_id": "call_1", "output": "Sunny"}
    client.respond(model="m", input=[result], previous_response_id="resp_1", stream=stream)
    assert kept() == [("tool", "Hello Ada.", "m-2026", 222, 44)]


def test_messages_that_are_objects_and_parts(make, kept):
    client = make()
    first = client.chat(**asking("Hi"))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "What "}, image, {"type": "text", "text": "is it?"}]
    client.chat(
        model="m",
        messages=[
            {"role": "user", "content": "Hi"},
            first.choices[0].message,
            {"role": "user", "content": parts},
        ],
    )
    assert kept() == [HELLO, ("What is it?", *HELLO[1:])]


def test_an_iterator_of_messages_is_not_used_up(make, model, kept):
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    question = {"role": "user", "content": iter([{"type": "text", "text": "Hi"}])}
    make().chat(model="m", messages=iter([*HISTORY, question]), tools=iter([tool]))
    (body,) = model.bodies
    assert [len(body["messages"]), body["tools"]] == [4, [tool]]
    assert kept() == [HELLO]


def test_parsed_answers_and_helpers(store, model, user, kept):
    client = record(openai.OpenAI(base_url=model.url, api_key="x"), store=store, user_id=user)
    with client.chat.completions.stream(**asking("Hi")) as stream:
        assert stream.get_final_completion().choices[0].message.content == "Hello Ada."
    with client.responses.stream(model="m", input="Hi") as stream:
        assert stream.get_final_response().output_text == "Hello Ada."
    client.with_options(timeout=5).chat.completions.create(**asking("Hi"))
    client.copy().responses.create(model="m", input="Hi")
    raw = client.chat.completions.with_raw_response.create(**asking("Hi"))
    assert raw.parse().choices[0].message.content == "Hello Ada."
    assert kept() == [HELLO] * 5
    raw = client.chat.completions.with_raw_response.create(**asking("Hi"), stream=True)
    assert len(list(raw.parse())) > 3
    assert kept() == [*[HELLO] * 5, UNCOUNTED]
    with client.chat.completions.with_streaming_response.create(**asking("Hi")) as raw:
        assert raw.parse().choices[0].message.content == "Hello Ada."
    assert store.background().dropped == {"with_streaming_response is not recorded": 1}
    parsed = client.chat.completions.parse(**asking("json"), response_format=Weather)
    assert parsed.choices[0].message.parsed == Weather(city="Paris")
    assert kept()[-1] == ("json", '{"city": "Paris"}', "m-2026", 111, 22)


def test_whose_it_is(make, store, user, kept):
    make(user_id=lambda: user).chat(**asking("Hi"))
    make(user_id=None).chat(**asking("Hi"), user=user)
    make(user_id=None).chat(**asking("Hi"), safety_identifier=user)
    make(user_id=user).chat(**asking("Hi"), user="a hash")
    assert kept() == [HELLO] * 4
    make(user_id=None).chat(**asking("Hi"))
    make(user_id=lambda: 1 / 0).chat(**asking("Hi"))
    assert store.background().dropped == {"no user_id": 1, "not recorded (ZeroDivisionError)": 1}


def test_a_store_that_is_away_harms_nobody(make):
    away = Store("http://127.0.0.1:9", "some.key")
    for stream in (False, True):
        assert make(store=away).chat(**asking("Hi"), stream=stream)
    assert away.background().pending == 2
    away.close(timeout=0)


def test_an_embedding_or_another_call_is_left_alone(make, model):
    client = make().client
    assert client.embeddings is not None
    assert client.models is not None


def test_a_client_for_azure_stays_one(store, model, user, kept):
    azure = openai.AzureOpenAI(azure_endpoint=model.url, api_key="x", api_version="2026-01-01")
    client = record(azure, store=store, user_id=user)
    assert type(client) is openai.AzureOpenAI
    client.chat.completions.create(**asking("Hi"))
    assert kept() == [HELLO]
