"""What the wrappers of other packages have in common: a call of a model becomes an interaction."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from chat_interaction_store.async_store import AsyncStore
from chat_interaction_store.background import BackgroundStore
from chat_interaction_store.store import Store

V = TypeVar("V")

AnyStore = Store | AsyncStore | BackgroundStore
UserId = str | Callable[[], str | None] | None
"""Who is talking: an id, or a function that is called at each call of a model, such as the `get` of
a context variable."""


@dataclass(frozen=True, repr=False)
class Question:
    """What was asked. `message` is the text of the last user message; None if there is none.

    `answered` has the ids of the tool calls whose results came after that message.
    """

    message: str | None
    answered: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Answer:
    """What the model said; `tools` has the ids of the tool calls that it made."""

    text: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    tools: tuple[str, ...] = ()


class Bounded(Generic[V]):
    """A dictionary that forgets its oldest values, so that what never ends takes no memory.

    A value can have several keys. Threads can share it: each step is atomic by itself. It has no
    lock, which a fork might leave locked for ever.
    """

    def __init__(self, size: int = 1000) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, tuple[tuple[Hashable, ...], V]] = OrderedDict()

    def put(self, keys: Iterable[Hashable], value: V) -> None:
        """Keep a value under these keys."""
        kept = tuple(keys), value
        for key in kept[0]:
            self._values[key] = kept
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def take(self, keys: Iterable[Hashable]) -> list[V]:
        """Return what is kept under these keys, each value once. All of its keys are forgotten."""
        found = []
        for key in keys:
            if kept := self._values.pop(key, None):
                found.append(kept[1])
                for other in kept[0]:
                    if self._values.get(other) is kept:
                        self._values.pop(other, None)
        return found


@dataclass(frozen=True, repr=False)
class _Step:
    """A call whose answer only calls tools. It is part of the interaction that ends its turn."""

    message: str | None
    input_tokens: int
    output_tokens: int


class Guard:
    """Ends a block at an error: whoever talks to a model must not notice."""

    def __init__(self, store: BackgroundStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        # By its name alone: its text might be a message's.
        self._store.leave_out(f"not recorded ({kind.__name__})")
        return True


class Recorder:
    """Puts what was asked and answered into the queue of a store. It never raises, nor waits."""

    def __init__(self, store: AnyStore, user_id: UserId) -> None:
        self._store = store if isinstance(store, BackgroundStore) else store.background()
        self._user_id = user_id
        self._steps: Bounded[_Step] = Bounded()

    def user(self, otherwise: object = None) -> str | None:
        """Returns who is talking now; `otherwise`, if it is text, if nobody has said so."""
        user_id = self._user_id() if callable(self._user_id) else self._user_id
        return user_id or (otherwise if isinstance(otherwise, str) and otherwise else None)

    def guard(self) -> Guard:
        """Returns a context in which an error is counted, and goes no further."""
        return Guard(self._store)

    def leave_out(self, reason: str) -> None:
        """Count a call that is not recorded."""
        self._store.leave_out(reason)

    def record(
        self, user_id: str | None, question: Question, answer: Answer, model: str = ""
    ) -> None:
        """Save an interaction, or keep the tokens of a step until the turn is over.

        `model` is the one that was asked for, if the answer names none.
        """
        steps = self._steps_before(user_id, question)
        message = question.message or next((step.message for step in steps if step.message), None)
        answer = replace(
            answer,
            input_tokens=answer.input_tokens + sum(step.input_tokens for step in steps),
            output_tokens=answer.output_tokens + sum(step.output_tokens for step in steps),
        )
        if answer.tools and not answer.text:
            step = _Step(message, answer.input_tokens, answer.output_tokens)
            self._steps.put(_keys(user_id, {message, None}, answer.tools), step)
        elif not message or not answer.text:
            self._store.leave_out("no text of a user" if not message else "no text of an answer")
        elif user_id is None:
            self._store.leave_out("no user_id")
        else:
            self._store.save(
                user_id=user_id,
                message=_mended(message),
                response=_mended(answer.text),
                model_used=answer.model or model,
                input_tokens=answer.input_tokens,
                output_tokens=answer.output_tokens,
            )

    def _steps_before(self, user_id: str | None, question: Question) -> list[_Step]:
        """The steps of this turn. A call may not repeat the question, or have it changed a bit."""
        exact = _keys(user_id, {question.message}, question.answered)
        return self._steps.take(exact) or self._steps.take(
            _keys(user_id, {None}, question.answered)
        )

    def flush(self, timeout: float) -> bool:
        """Wait until all is saved, for up to `timeout` seconds."""
        return self._store.flush(timeout)


def _mended(text: str) -> str:
    """The text with both halves of a character put together, and U+FFFD for half of one."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _keys(
    user_id: str | None, messages: Iterable[str | None], tools: Iterable[str]
) -> list[Hashable]:
    """Some models count their tool calls anew in each conversation, so an id is not enough."""
    return [(user_id, message, tool) for message in messages for tool in tools]
