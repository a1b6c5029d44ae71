"""Pseudonyms of users in manifests: they do not tell who it is, but a given user can be found.

A pseudonym is a keyed hash (HMAC-SHA256) whose key is derived from SECRET_KEY. Earlier keys are in
SECRET_KEY_FALLBACKS.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from django.conf import settings
from django.utils.crypto import salted_hmac

_SALT = "storage.archive.pseudonyms"

REMEMBERED = 8192
"""Pseudonyms that a process keeps in memory. Archiving needs each one at least twice: to cut a day
into segments, and to write them. It was a tenth of its time."""


def pseudonym(user_id: str) -> str:
    """A user's pseudonym with the current key: 32 hexadecimal digits."""
    return _remembered(user_id, settings.SECRET_KEY)


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


def counts(users: Mapping[str, int]) -> dict[str, int]:
    """Counts by user turned into counts by pseudonym, sorted."""
    return dict(sorted((pseudonym(user), count) for user, count in users.items()))


class Sought:
    """Users that are looked for, with their pseudonyms under all known keys, which are made once.

    Of rows whose pseudonyms are made with an unknown key, each of them may have some.
    """

    def __init__(self, user_ids: Iterable[str]) -> None:
        self.user_ids = list(user_ids)
        by_user = {user_id: pseudonyms_by_key(user_id) for user_id in self.user_ids}
        self._by_key = {
            key: sorted((made[key], user_id) for user_id, made in by_user.items())
            for key in pseudonyms_by_key("")
        }
        self._digits = {key: {digits for digits, _ in pairs} for key, pairs in self._by_key.items()}

    def between(self, key: str, first: str, last: str) -> list[str]:
        """The users whose pseudonyms begin with `first`, with `last`, or with what is between."""
        if (pairs := self._by_key.get(key)) is None:
            return self.user_ids
        start = bisect_left(pairs, (first, ""))
        end = bisect_left(pairs, (f"{last}g", ""))  # behind all hexadecimal digits
        return [user_id for _, user_id in pairs[start:end]]

    def among(self, key: str, users: Collection[str] | None) -> dict[str, str | None]:
        """The users of these pseudonyms (None: of any), with them. None if the key is unknown."""
        if (pairs := self._by_key.get(key)) is None:
            return dict.fromkeys(self.user_ids)
        return {user_id: digits for digits, user_id in pairs if users is None or digits in users}

    def has_any(self, key: str, users: Collection[str] | None) -> bool:
        """Whether `among` would find any."""
        if users is None or key not in self._digits:
            return bool(self.user_ids)
        return not self._digits[key].isdisjoint(users)


@lru_cache(REMEMBERED)
def _remembered(user_id: str, key: str) -> str:
    return _digits(_SALT, user_id, key, 32)


def _digits(salt: str, value: str, key: str, length: int) -> str:
    return salted_hmac(salt, value, secret=key, algorithm="sha256").hexdigest()[:length]
