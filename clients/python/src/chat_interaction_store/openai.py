"""Records what an `openai` client is asked, and what it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any, TypeVar, cast

from openai import (
    AsyncOpenAI,
    AsyncStream,
    BadRequestError,
    OpenAI,
    Stream,
    UnprocessableEntityError,
)

from chat_interaction_store.openai_formats import (
    ChatStream,
    ResponseStream,
    chat_answer,
    chat_question,
    response_answer,
    response_question,
    value,
)
from chat_interaction_store.recording import Answer, AnyStore, Recorder, UserId

C = TypeVar("C", bound=OpenAI | AsyncOpenAI)

CHAT, RESPONSES = "/chat/completions", "/responses"

_UNKNOWN_FIELD = (BadRequestError, UnprocessableEntityError)
"""How servers refuse a field that they do not know. Mistral's answers 422."""


def record(client: C, *, store: AnyStore, user_id: UserId = None) -> C:
    """Returns a client like `client` whose chat completions and responses are stored.

    It answers and fails as `client` does, never waits for the store, and never fails because of it.
    Interactions belong to `user_id`, which may be a function; without one, to the `user` or
    `safety_identifier` of each call.
    """
    return cast("C", _recorded(client.copy(), Recorder(store, user_id)))


def _recorded(client: Any, recorder: Recorder) -> Any:
    """Have all calls of this client, and of the copies that are made of it, recorded.

    `post` is the one way of all of them: `create`, `parse`, `stream` and `with_raw_response`.
    """
    copy = client.copy
    client.copy = client.with_options = lambda **options: _recorded(copy(**options), recorder)
    post_of = _asynchronous if isinstance(client, AsyncOpenAI) else _synchronous
    client.post = post_of(client.post, recorder)
    return client


def _synchronous(post: Any, recorder: Recorder) -> Any:
    def recorded_post(path: str, *, body: Any = None, **rest: Any) -> Any:
        call = _Call.of(recorder, path, body, rest)
        if call is None:
            return post(path, body=body, **rest)
        if call.body is not body:
            try:
                return call.watched(post(path, body=call.body, **rest))
            except _UNKNOWN_FIELD:
                call.ask_as_given()  # perhaps this server does not know `stream_options`
        return call.watched(post(path, body=body, **rest))

    return recorded_post


def _asynchronous(post: Any, recorder: Recorder) -> Any:
    async def recorded_post(path: str, *, body: Any = None, **rest: Any) -> Any:
        call = _Call.of(recorder, path, body, rest)
        if call is None:
            return await post(path, body=body, **rest)
        if call.body is not body:
            try:
                return call.watched(await post(path, body=call.body, **rest))
            except _UNKNOWN_FIELD:
                call.ask_as_given()
        return call.watched(await post(path, body=body, **rest))

    return recorded_post


class _Call:
    """One call of a model, from its request to the end of its answer.

    `body` is what to send: with the usage asked for, if the caller has not said anything about it.
    """

    def __init__(self, recorder: Recorder, path: str, body: Any, rest: dict[str, Any]) -> None:
        options = rest.get("options") or {}
        given = {**body, **(value(options, "extra_json") or {})}
        self._recorder = recorder
        self._is_chat = path == CHAT
        self._question = (
            chat_question(given.get("messages"))
            if self._is_chat
            else response_question(given.get("input"))
        )
        self._user_id = recorder.user(given.get("user") or given.get("safety_identifier"))
        self._model = str(given.get("model") or "")
        self._is_raw = "X-Stainless-Raw-Response" in (value(options, "headers") or {})
        self._answer = ChatStream() if self._is_chat else ResponseStream()
        self._is_over = False
        self.hides_usage = (
            self._is_chat
            and bool(rest.get("stream"))
            and "stream_options" not in given
            and not self._is_raw
        )
        self.body = body
        if self.hides_usage:
            self.body = {**body, "stream_options": {"include_usage": True}}

    @classmethod
    def of(cls, recorder: Recorder, path: str, body: Any, rest: dict[str, Any]) -> _Call | None:
        """Returns the call in a request; None if it is none."""
        if path in (CHAT, RESPONSES) and isinstance(body, dict):
            with recorder.guard():
                return cls(recorder, path, body, rest)
        return None

    def ask_as_given(self) -> None:
        """What comes is the answer to the caller's own request."""
        self.hides_usage = False

    def watched(self, result: Any) -> Any:
        """Returns the result of `post`; what it says is recorded, at once or when it has come."""
        with self._recorder.guard():
            self._watch(result)
        return result

    def _watch(self, result: Any) -> None:
        if self._is_raw:
            if type(result).__name__ != "LegacyAPIResponse":  # openai does not export it
                self._recorder.leave_out("with_streaming_response is not recorded")
                return
            result = result.parse()  # the caller's `parse` returns the same object
        stream: Any = result
        if isinstance(result, Stream):
            stream._iterator = self._chunks(stream._iterator)
            stream.close = partial(_close, stream, self)
        elif isinstance(result, AsyncStream):
            stream._iterator = self._chunks_async(stream._iterator)
            stream.close = partial(_aclose, stream, self)
        else:
            self._save(chat_answer(result) if self._is_chat else response_answer(result))

    def _chunks(self, chunks: Iterator[Any]) -> Iterator[Any]:
        try:
            for chunk in chunks:
                if self._is_for_the_caller(chunk):
                    yield chunk
        finally:
            self.end()

    async def _chunks_async(self, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for chunk in chunks:
                if self._is_for_the_caller(chunk):
                    yield chunk
        finally:
            self.end()

    def _is_for_the_caller(self, chunk: Any) -> bool:
        """Notes a chunk. The one that has nothing but the usage is for us, if we asked for it."""
        with self._recorder.guard():
            self._answer.add(chunk)
            return not (self.hides_usage and not chunk.choices and chunk.usage is not None)
        return True

    def end(self) -> None:
        """The stream is over, or was left: save what has come."""
        if not self._is_over:
            self._is_over = True
            with self._recorder.guard():
                self._save(self._answer.answer())

    def _save(self, answer: Answer) -> None:
        self._recorder.record(self._user_id, self._question, answer, self._model)


def _close(stream: Any, call: _Call) -> None:
    """The `close` of a stream, which may be left half-way."""
    try:
        type(stream).close(stream)
    finally:
        call.end()


async def _aclose(stream: Any, call: _Call) -> None:
    """The same of an asynchronous one."""
    try:
        await type(stream).close(stream)
    finally:
        call.end()
