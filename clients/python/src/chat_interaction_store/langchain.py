"""Records what LangChain's models are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from chat_interaction_store.openai_formats import text, value, with_usage
from chat_interaction_store.recording import (
    Answer,
    AnyStore,
    Bounded,
    Question,
    Recorder,
    UserId,
)


@dataclass(frozen=True, repr=False)
class _Run:
    """A call of a model that has begun."""

    user_id: str | None
    question: Question
    model: str


class StoreCallbackHandler(BaseCallbackHandler):
    """Pass it as a callback to a model, a chain or a graph.

    Interactions belong to `user_id` in the metadata of a call's configuration; without one, to
    `user_id` here, which may be a function.
    """

    run_inline = True  # it never waits, and in a thread of its own an end may overtake its start

    def __init__(self, *, store: AnyStore, user_id: UserId = None) -> None:
        self._recorder = Recorder(store, user_id)
        self._runs: Bounded[_Run] = Bounded(10_000)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        **rest: Any,
    ) -> None:
        with self._recorder.guard():
            self._start(run_id, _question(messages[0]), rest)

    def on_llm_start(
        self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **rest: Any
    ) -> None:
        with self._recorder.guard():
            self._start(run_id, Question(prompts[0]), rest)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **rest: Any) -> None:
        with self._recorder.guard():
            self._end(run_id, response)

    def on_llm_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        response: LLMResult | None = None,
        **rest: Any,
    ) -> None:
        # A stream that is left half-way is an error with what has come so far.
        with self._recorder.guard():
            self._end(run_id, response, is_whole=False)

    def _start(self, run_id: UUID, question: Question, rest: Mapping[str, Any]) -> None:
        metadata = rest.get("metadata") or {}
        parameters = rest.get("invocation_params") or {}
        named = metadata.get("user_id")
        user_id = str(named) if named else self._recorder.user()
        model = parameters.get("model") or parameters.get("model_name")
        model = str(model or metadata.get("ls_model_name") or "")
        self._runs.put([run_id], _Run(user_id, question, model))

    def _end(self, run_id: UUID, result: LLMResult | None, *, is_whole: bool = True) -> None:
        for run in self._runs.take([run_id]):
            answer = _answer(result)
            if is_whole or answer.text:
                self._recorder.record(run.user_id, run.question, answer, run.model)


def _question(messages: list[BaseMessage]) -> Question:
    answered: list[str] = []
    for message in reversed(messages):
        if message.type == "human":
            return Question(text(message.content) or None, tuple(answered))
        if call_id := value(message, "tool_call_id"):
            answered.append(call_id)
    return Question(None, tuple(answered))


def _answer(result: LLMResult | None) -> Answer:
    """The first answer, or what has come of it."""
    generation = value(result, "generations", 0, 0)
    message = value(generation, "message")
    if message is None:
        answer = Answer(str(value(generation, "text") or ""))
        return with_usage(answer, {"usage": value(result, "llm_output", "token_usage")})
    spoken = text(message.content) or value(message, "additional_kwargs", "refusal") or ""
    tools = [call["id"] for call in value(message, "tool_calls") or () if call.get("id")]
    metadata = value(message, "response_metadata")
    usage = value(message, "usage_metadata") or value(result, "llm_output", "token_usage")
    model = (
        value(metadata, "model_name")
        or value(metadata, "model")
        or value(result, "llm_output", "model_name")
    )
    return with_usage(Answer(spoken, tools=tuple(tools)), {"model": model, "usage": usage})
