"""The limits of an interaction, the same on every backend.

Texts lie in the row up to 131,072 bytes, and above that in an object of the archive
(`storage.large`), so no database sets their limit: a request has to hold them in memory several
times. Token counts stay within the integers that JSON clients read exactly (RFC 8259, section 6).
Text must be valid Unicode, without
lone surrogates. An interaction that is old enough to have expired is refused (`storage.expiry`).

No new id has a dot segment (RFC 3986, section 5.2.4): ids are parts of addresses, and clients and
proxies resolve `users/ada/../bobby/` to `users/bobby/`, which is another user. Ids that were saved
before this rule can still be read, exported and erased.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

IDENTIFIER_MAX_LENGTH = 255
"""Characters in `interaction_id` and `user_id`."""

MODEL_MAX_LENGTH = 255
"""Characters in `model_used`."""

TOKENS_MAX = 2**53 - 1
"""The largest token count."""

TEXT_MAX_BYTES = 8_000_000
"""Bytes of UTF-8 in `message` and `response` together."""

_CONTROLS = r"\u0000-\u001f\u007f-\u009f"
IDENTIFIER_PATTERN = rf"^[^{_CONTROLS}]*$"
"""Matches what has no control character. The patterns here mean the same in JSON Schema."""

TEXT_PATTERN = r"^[^\u0000]*$"
"""Matches what has no NUL."""

_SLASH = r"(/|\\|%2[fF]|%5[cC])"
DOT_SEGMENT_PATTERN = rf"(^|{_SLASH})(\.|%2[eE]){{1,2}}({_SLASH}|$)"
"""Finds a dot segment, in whatever way clients or proxies might see one. Browsers take a backslash
for a slash, and percent signs that a client left as they are for an encoding."""

_CONTROL = re.compile(rf"[{_CONTROLS}]")
_DOT_SEGMENT = re.compile(DOT_SEGMENT_PATTERN)


def is_sound(row: Mapping[str, Any]) -> bool:
    """Whether a row with all fields keeps the limits below, by a test that nearly every row passes.

    The limits field by field take five times as long, and decide about the rows that do not pass.
    """
    interaction_id, user_id = row["interaction_id"], row["user_id"]
    message, response, model = row["message"], row["response"], row["model_used"]
    inputs, outputs = row["input_tokens"], row["output_tokens"]
    return (
        type(interaction_id)
        is type(user_id)
        is type(message)
        is type(response)
        is type(model)
        is str
        and type(inputs) is type(outputs) is int
        and 1 <= len(interaction_id) <= IDENTIFIER_MAX_LENGTH
        and 1 <= len(user_id) <= IDENTIFIER_MAX_LENGTH
        and 1 <= len(model) <= MODEL_MAX_LENGTH
        and (ids := interaction_id + user_id).isascii()
        and ids.isprintable()
        and not (has_dot_segment(interaction_id) or has_dot_segment(user_id))
        and model.isascii()
        and model.isprintable()
        and (message.isascii() or is_utf8(message))
        and (response.isascii() or is_utf8(response))
        and not ("\0" in message or "\0" in response)
        and 4 * (len(message) + len(response)) <= TEXT_MAX_BYTES
        and 0 <= inputs <= TOKENS_MAX
        and 0 <= outputs <= TOKENS_MAX
        and getattr(row["created_at"], "tzinfo", None) is UTC
        and getattr(row["updated_at"], "tzinfo", None) is UTC
    )


def identifier_violation(value: object) -> str | None:
    """Returns why `value` cannot be an `interaction_id` or a `user_id`, or None if it can."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}."
    if not 1 <= len(value) <= IDENTIFIER_MAX_LENGTH:
        return f"must have 1 to {IDENTIFIER_MAX_LENGTH} characters; it has {len(value)}."
    if value.isascii() and value.isprintable():
        return None  # fast path: nearly every id
    if _CONTROL.search(value):
        return "must not contain control characters."
    return None if is_utf8(value) else _SURROGATE


def new_identifier_violation(value: object) -> str | None:
    """As `identifier_violation`, for what is new: returns a reason for a dot segment, too."""
    return identifier_violation(value) or (_DOTS if has_dot_segment(str(value)) else None)


def has_dot_segment(identifier: str) -> bool:
    """Whether an address that ends in this id may be resolved to another one."""
    may_have = "." in identifier or "%2" in identifier  # fast path: nearly every id
    return may_have and _DOT_SEGMENT.search(identifier) is not None


_DOTS = (
    'must not have a dot segment ("." or "..", alone or between slashes), because clients resolve '
    "the address of such an id to another one."
)


def model_violation(value: object) -> str | None:
    """Returns why `value` cannot be a `model_used`, or None if it can."""
    if isinstance(value, str) and not 1 <= len(value) <= MODEL_MAX_LENGTH:
        return f"must have 1 to {MODEL_MAX_LENGTH} characters; it has {len(value)}."
    return text_violation(value)


def tokens_violation(value: object) -> str | None:
    """Returns why `value` cannot be a token count, or None if it can."""
    if type(value) is not int:
        return f"must be an integer, not {type(value).__name__}."
    if not 0 <= value <= TOKENS_MAX:
        return f"must be from 0 to {TOKENS_MAX}."
    return None


def text_violation(value: object) -> str | None:
    """Returns why `value` cannot be a `message` or `response`, or None. Does not check the size."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}."
    if "\0" in value:
        return "must not contain the character NUL (U+0000)."
    return None if value.isascii() or is_utf8(value) else _SURROGATE


def size_violation(message: str, response: str) -> dict[str, str]:
    """Returns which of the two fields is too long, mapped to the reason. Empty if none is."""
    if 4 * (len(message) + len(response)) <= TEXT_MAX_BYTES:
        return {}  # whatever its characters
    size = text_bytes(message, response)
    if size <= TEXT_MAX_BYTES:
        return {}
    message_alone = len(message.encode()) > TEXT_MAX_BYTES
    return {
        "message" if message_alone else "response": (
            f"message and response together must be at most {TEXT_MAX_BYTES} bytes "
            f"of UTF-8; they are {size}."
        )
    }


def text_bytes(message: str, response: str) -> int:
    """The size of a message and a response in bytes of UTF-8."""
    if message.isascii() and response.isascii():
        return len(message) + len(response)
    return len(message.encode()) + len(response.encode())


def is_utf8(value: str) -> bool:
    """Whether `value` can be encoded in UTF-8, that is, has no lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_SURROGATE = "must not contain lone surrogates (U+D800 to U+DFFF)."


def time_violation(value: object) -> str | None:
    """Returns why `value` cannot be a `created_at` or `updated_at`, or None if it can."""
    if isinstance(value, datetime) and value.tzinfo is UTC:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        return "must be a date and time with a UTC offset."
    try:
        value.astimezone(UTC)
    except OverflowError:
        return "must be within the years 1 to 9999 in UTC."
    return None
