"""Cache keys: `chat:{user_id}:{sha256 of what is cached}`.

The hash is SHA-256 because Python's `hash()` differs from process to process.
"""

import hashlib
import re

from storage.models import ChatInteraction
from storage.records.questions import Question

_GLOB = re.compile(r"([*?\[\]\\^-])")
_ESCAPED = r"\\\1"

INTERACTION_KEYS = "chat::*"
"""A Redis pattern that matches all keys of interactions by id, and a few others."""

FORMAT_VERSION = 1
"""Part of every key. Raise it when the cached format changes, so that old entries are not read."""


def interaction_key(interaction_id: str) -> str:
    """The key of an interaction by id. Its user part is empty, since a read by id knows no user."""
    return _key("", f"interaction:{FORMAT_VERSION}:{interaction_id}")


def answer_key(question: Question) -> str:
    """The key of the newest answer to a question. `max_age` is not part of it."""
    return _answer_key(question.user_id, _digest(question.message), question.model_used or "")


def answer_keys(interaction: ChatInteraction) -> list[str]:
    """The keys under which this interaction may be the newest answer. None without a response."""
    if not interaction.response:
        return []
    message = _digest(interaction.message)
    user_id, model_used = interaction.user_id, interaction.model_used
    return [_answer_key(user_id, message, ""), _answer_key(user_id, message, model_used)]


def string_key(key: str) -> str:
    """The cache key of the application's string `key`. It never equals that of another entry.

    A key `chat:{user_id}:{rest}` keeps its user part, which ends at the last colon.
    """
    kind, _, rest = key.partition(":")
    user_id = rest.rpartition(":")[0] if kind == "chat" else ""
    return _key(user_id, f"string:{FORMAT_VERSION}:{key}")


def user_pattern(user_id: str) -> str:
    """A Redis pattern that matches all keys of a user, and a few others."""
    return f"chat:{_GLOB.sub(_ESCAPED, user_id)}:*"


def is_key_of(user_id: str, key: bytes) -> bool:
    """Whether a key is this user's, not that of a user whose id only starts with the same text."""
    beginning = f"chat:{user_id}:".encode()
    return key.startswith(beginning) and b":" not in key[len(beginning) :]


def as_given(key: str, prefix: str, version: int) -> str:
    """Django's KEY_FUNCTION for Redis: adds nothing to the keys of this module."""
    return key


def _answer_key(user_id: str, message_digest: str, model_used: str) -> str:
    return _key(user_id, f"answer:{FORMAT_VERSION}:{message_digest}:{model_used}")


def _key(user_id: str, content: str) -> str:
    return f"chat:{user_id}:{hashlib.sha256(content.encode()).hexdigest()}"


def _digest(content: str | bytes) -> str:
    if isinstance(content, bytes):  # it stands in for a large text (`storage.large.stand_ins`)
        return content.hex()
    return hashlib.sha256(content.encode()).hexdigest()
