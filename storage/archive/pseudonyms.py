"""Names for users in manifests, which tell nobody who they are but find a user that is asked for.

A pseudonym is a keyed hash (HMAC-SHA256). Its key comes from SECRET_KEY, so manifests alone tell
nothing; `SECRET_KEY_FALLBACKS` are the keys that were used before.
"""

from collections.abc import Mapping

from django.conf import settings
from django.utils.crypto import salted_hmac

_SALT = "storage.archive.pseudonyms"


def pseudonym(user_id: str) -> str:
    """32 hexadecimal digits for a user, by today's key."""
    return _pseudonym(settings.SECRET_KEY, user_id)


def key_id() -> str:
    """8 hexadecimal digits that tell today's key from others, and nothing about it."""
    return _key_id(settings.SECRET_KEY)


def all_pseudonyms(user_id: str) -> list[str]:
    """A user's pseudonyms by every known key, today's first."""
    return list(pseudonyms_by_key(user_id).values())


def pseudonyms_by_key(user_id: str) -> Mapping[str, str]:
    """A user's pseudonym by every known key, under the ids of the keys."""
    return {_key_id(key): _pseudonym(key, user_id) for key in _keys()}


def counts(users: Mapping[str, int]) -> dict[str, int]:
    """Numbers by user as numbers by today's pseudonym, sorted."""
    return dict(sorted((pseudonym(user), count) for user, count in users.items()))


def _keys() -> list[str]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


def _pseudonym(key: str, user_id: str) -> str:
    return _digits(_SALT, user_id, key, 32)


def _key_id(key: str) -> str:
    return _digits(f"{_SALT}.key", "", key, 8)


def _digits(salt: str, value: str, key: str, length: int) -> str:
    return salted_hmac(salt, value, secret=key, algorithm="sha256").hexdigest()[:length]
