"""What every format is translated to: one call of a language model."""

from dataclasses import dataclass
from datetime import datetime

from chat.ingest.reasons import Reason


@dataclass(frozen=True, slots=True, repr=False)
class ModelCall:
    """A call of a model. Times are UTC with microseconds; tokens that are not known are 0."""

    call_id: str
    """Of the call, not of its answer, so that sending it again changes nothing."""
    user_id: str | None
    message: str | None
    """The text of the last user message; None if the tool sent no text."""
    response: str | None
    """The text of the first choice, empty if the model said nothing; None if the tool sent none."""
    model: str
    """The model that answered or, if that is not known, that was asked for."""
    started_at: datetime
    ended_at: datetime
    input_tokens: int = 0
    """Cached ones included."""
    output_tokens: int = 0
    """Those for reasoning included."""
    turn: str = ""
    """The same for the calls in which an agent answers one message by way of tools. The id of the
    first tool call after that message is a good choice: each of these calls has seen or made it."""
    is_tool_step: bool = False
    """Whether the answer only calls tools."""
    place: str = ""
    """Where it stands in what was sent: the id of a span, a number of a line."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not stored. `detail` is for whoever sent it and has no text of users."""

    reason: Reason
    detail: str = ""
    place: str = ""
    """As that of a call."""


Translated = ModelCall | LeftOut
