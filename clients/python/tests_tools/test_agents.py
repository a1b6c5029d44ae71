"""The trace processor with the real `openai-agents`."""

import asyncio

import agents
import pytest
from agents.tracing import set_trace_processors
from openai import AsyncOpenAI

from chat_interaction_store.agents import StoreTraceProcessor

LOOP = asyncio.new_event_loop()  # a client belongs to one


@agents.function_tool
def weather(city: str) -> str:
    return "Sunny"


@pytest.fixture(params=["chat", "responses"])
def agent(request, model, store, user):
    client = AsyncOpenAI(base_url=model.url, api_key="x")
    kind = (
        agents.OpenAIChatCompletionsModel
        if request.param == "chat"
        else agents.OpenAIResponsesModel
    )
    set_trace_processors([StoreTraceProcessor(store=store, user_id=user)])
    yield agents.Agent(name="a", model=kind("m", client), tools=[weather], instructions="Be kind.")
    set_trace_processors([])


def run(agent, asked, stream, **config):
    async def main():
        options = {"run_config": agents.RunConfig(**config)}
        if not stream:
            return await agents.Runner.run(agent, asked, **options)
        result = agents.Runner.run_streamed(agent, asked, **options)
        async for _ in result.stream_events():
            pass
        return result

    return LOOP.run_until_complete(main())


def expected(agent, asked, answer, stream, steps=1):
    """A span of a chat completion has the model that was asked for and, streamed, no usage."""
    is_chat = isinstance(agent.model, agents.OpenAIChatCompletionsModel)
    counts = (0, 0) if is_chat and stream else (111 * steps, 22 * steps)
    return (asked, answer, "m" if is_chat else "m-2026", *counts)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("asked", "answer"), [("Hi", "Hello Ada."), ("think", "Hello Ada.")])
def test_whole_and_streamed(agent, kept, asked, answer, stream):
    run(agent, asked, stream)
    assert kept() == [expected(agent, asked, answer, stream)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_text(agent, kept, stream):
    with pytest.raises(agents.AgentsException):
        run(agent, "refuse", stream)
    assert kept() == [expected(agent, "refuse", "I will not.", stream)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_part_of_its_turn(agent, kept, stream):
    run(agent, "tool", stream)
    assert kept() == [expected(agent, "tool", "Hello Ada.", stream, steps=2)]


def test_a_follow_up_stores_only_what_is_new(agent, kept):
    first = run(agent, "Hi", False)
    run(agent, [*first.to_input_list(), {"role": "user", "content": "And?"}], False)
    assert [one[0] for one in kept()] == ["Hi", "And?"]


def test_the_user_of_a_run(agent, store, user, kept):
    set_trace_processors([StoreTraceProcessor(store=store)])
    run(agent, "Hi", False, trace_metadata={"user_id": user})
    assert len(kept()) == 1
    run(agent, "Hi", False)
    assert store.background().dropped == {"no user_id": 1}


def test_without_sensitive_data_nothing_is_stored(agent, store, kept):
    run(agent, "Hi", False, trace_include_sensitive_data=False)
    assert kept() == []
    assert store.background().dropped == {"no text of a user": 1}


def test_streamed_usage_if_it_is_asked_for(agent, kept):
    agent.model_settings = agents.ModelSettings(include_usage=True)
    run(agent, "Hi", True)
    assert [one[3:] for one in kept()] == [(111, 22)]
