"""Pseudonyms of users in manifests: they do not tell who it is, but a given user can be found.

A pseudonym is a keyed hash (HMAC-SHA256) whose key is derived from SECRET_KEY. Earlier keys are in
SECRET_KEY_FALLBACKS.
"""

from collections.abc import Mapping

from django.conf import settings
from django.utils.crypto import salted_hmac

_SALT = "storage.archive.pseudonyms"


def pseudonym(user_id: str) -> str:
    """A user's pseudonym with the current key: 32 hexadecimal digits."""
    return _pseudonym(settings.SECRET_KEY, user_id)


def key_id() -> str:
    """8 hexadecimal digits that identify the current key and reveal nothing about it."""
    return _key_id(settings.SECRET_KEY)


def all_pseudonyms(user_id: str) -> list[str]:
    """A user's pseudonyms with all known keys, the current one first."""
    return list(pseudonyms_by_key(user_id).values())


def pseudonyms_by_key(user_id: str) -> Mapping[str, str]:
    """A user's pseudonyms with all known keys, by the ids of the keys."""
    return {_key_id(key): _pseudonym(key, user_id) for key in _keys()}


def counts(users: Mapping[str, int]) -> dict[str, int]:
    """Counts by user turned into counts by pseudonym, sorted."""
    return dict(sorted((pseudonym(user), count) for user, count in users.items()))


def _keys() -> list[str]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


def _pseudonym(key: str, user_id: str) -> str:
    return _digits(_SALT, user_id, key, 32)


def _key_id(key: str) -> str:
    return _digits(f"{_SALT}.key", "", key, 8)


def _digits(salt: str, value: str, key: str, length: int) -> str:
    return salted_hmac(salt, value, secret=key, algorithm="sha256").hexdigest()[:length]
