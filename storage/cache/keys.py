"""Cache keys: `chat:{user_id}:{sha256 of what is cached}`.

The hash is SHA-256 because Python's `hash()` differs from process to process.
"""

import hashlib

FORMAT_VERSION = 1
"""Part of every key. Raise it when the cached form changes, so that old entries are not read."""


def interaction_key(interaction_id: str) -> str:
    """The key of one interaction by id. Its user part is empty: an id alone names no user."""
    content = f"interaction:{FORMAT_VERSION}:{interaction_id}"
    return f"chat::{hashlib.sha256(content.encode()).hexdigest()}"


def as_given(key: str, prefix: str, version: int) -> str:
    """Django's KEY_FUNCTION for Redis: keys there are just those of this module."""
    return key
