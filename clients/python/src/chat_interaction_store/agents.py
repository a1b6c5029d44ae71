"""Records what the models of the OpenAI Agents SDK are asked, and what they answer."""

from __future__ import annotations

from typing import Any

from agents.tracing import Span, Trace, TracingProcessor

from chat_interaction_store.openai_formats import (
    chat_message,
    chat_question,
    response_answer,
    response_question,
    value,
    with_usage,
)
from chat_interaction_store.recording import Answer, AnyStore, Recorder, UserId

FLUSH_TIMEOUT = 5.0
"""Seconds."""


class StoreTraceProcessor(TracingProcessor):
    """Give it to `agents.add_trace_processor`.

    Interactions belong to `user_id` in the `trace_metadata` of a run's configuration; without one,
    to `user_id` here, which may be a function.
    """

    def __init__(self, *, store: AnyStore, user_id: UserId = None) -> None:
        self._recorder = Recorder(store, user_id)

    def on_span_end(self, span: Span[Any]) -> None:
        with self._recorder.guard():
            data = span.span_data
            if data.type == "generation":
                self._record(span, chat_question(data.input), _generated(data), data.model or "")
            elif data.type == "response":
                self._record(span, response_question(data.input), response_answer(data.response))

    def _record(self, span: Span[Any], question: Any, answer: Answer, model: str = "") -> None:
        if span.error and not answer.text:
            return  # the call failed, as its caller has been told
        named = value(span, "trace_metadata", "user_id")
        user_id = str(named) if named else self._recorder.user()
        self._recorder.record(user_id, question, answer, model)

    def force_flush(self) -> None:
        self._recorder.flush(FLUSH_TIMEOUT)

    def shutdown(self) -> None:
        self._recorder.flush(FLUSH_TIMEOUT)

    def on_trace_start(self, trace: Trace) -> None:
        """Nothing to do: spans have the metadata of their trace."""

    def on_trace_end(self, trace: Trace) -> None:
        """Nothing to do."""

    def on_span_start(self, span: Span[Any]) -> None:
        """Nothing to do."""


def _generated(data: Any) -> Answer:
    """The answer of a chat completion: a message or, if it was streamed, a response."""
    output = value(data, "output", 0)
    is_response = value(output, "output") is not None
    answer = response_answer(output) if is_response else chat_message(output)
    return with_usage(answer, {"usage": data.usage})
