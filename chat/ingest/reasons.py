"""Why something that a tool sent was not stored, and what its user can do about it."""

from enum import Enum


class Reason(Enum):
    """A reason: its name in metrics, and the remedy as a sentence for people."""

    NO_TEXT = (
        "no_text",
        "The tool sent no text. OpenTelemetry's instrumentations: set "
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY.",
    )
    TEXT_APART = (
        "text_apart",
        "The texts came as log records, apart from their call. Replace "
        "opentelemetry-instrumentation-openai-v2 with opentelemetry-instrumentation-genai-openai "
        "and set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY.",
    )
    NO_MESSAGE = (
        "no_message",
        "It has no message of a user. Traceloop and openai-v2 leave out what has an inline image.",
    )
    NO_MODEL = ("no_model", "Name the model of the call.")
    NO_USER = (
        "no_user",
        "Say whose call it is: use an API key that is bound to the user, or send a user id.",
    )
    REDACTED = (
        "redacted",
        "The tool replaced the text with a placeholder. Turn its redaction off.",
    )
    CUT = (
        "cut",
        "The text was cut on its way. Raise or unset the tool's limit "
        "(OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT).",
    )
    TOO_LONG = ("too_long", "Message and response together may have at most 8,000,000 bytes.")
    NO_END = ("no_end", "The call had not ended when it was sent.")
    FAILED = ("failed", "The call failed, so there is no answer to store.")
    TOOL_STEP = ("tool_step", "A step that only calls a tool is no interaction; nothing to do.")
    NO_CALL = ("no_call", "It is no call of a model; nothing to do.")
    EXPIRED = ("expired", "It is older than interactions are kept.")
    ERASED = ("erased", "Its user was erased after it was created.")
    CONFLICT = ("conflict", "An interaction with this id exists with other content.")
    UNREADABLE = (
        "unreadable",
        "A whole request could not be read, and its answer said why: the wrong format, cut off, or "
        "too large. Send it as the tool's page of the documentation says.",
    )
    INVALID = ("invalid", "It breaks a limit of an interaction, or is not in the tool's format.")

    def __init__(self, label: str, remedy: str) -> None:
        self.label = label
        self.remedy = remedy


NOTHING_LOST = frozenset({Reason.NO_CALL, Reason.TOOL_STEP})
"""Reasons that no user has to do anything about."""
