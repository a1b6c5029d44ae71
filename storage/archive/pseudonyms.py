"""Pseudonyms of users in manifests: they do not tell who it is, but a given user can be found.

A pseudonym is a keyed hash (HMAC-SHA256) whose key is derived from SECRET_KEY. Earlier keys are in
SECRET_KEY_FALLBACKS.
"""

from collections.abc import Iterable, Mapping, Set

from django.conf import settings
from django.utils.crypto import salted_hmac

_SALT = "storage.archive.pseudonyms"


def pseudonym(user_id: str) -> str:
    """A user's pseudonym with the current key: 32 hexadecimal digits."""
    return _digits(_SALT, user_id, settings.SECRET_KEY, 32)


def key_id(key: str | None = None) -> str:
    """8 hexadecimal digits that identify a key (the current one) and reveal nothing about it."""
    return _digits(f"{_SALT}.key", "", key or settings.SECRET_KEY, 8)


def all_pseudonyms(user_id: str) -> list[str]:
    """A user's pseudonyms with all known keys, the current one first."""
    return list(pseudonyms_by_key(user_id).values())


def pseudonyms_by_key(user_id: str) -> Mapping[str, str]:
    """A user's pseudonyms with all known keys, by the ids of the keys."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return {key_id(key): _digits(_SALT, user_id, key, 32) for key in keys}


def sets_by_key(user_ids: Iterable[str]) -> Mapping[str, Set[str]]:
    """The pseudonyms of users with all known keys, by the ids of the keys.

    Make them once for many manifests: each is an HMAC.
    """
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    users = list(user_ids)
    return {key_id(key): {_digits(_SALT, user, key, 32) for user in users} for key in keys}


def counts(users: Mapping[str, int]) -> dict[str, int]:
    """Counts by user turned into counts by pseudonym, sorted."""
    return dict(sorted((pseudonym(user), count) for user, count in users.items()))


def _digits(salt: str, value: str, key: str, length: int) -> str:
    return salted_hmac(salt, value, secret=key, algorithm="sha256").hexdigest()[:length]
