"""Reads JSON as tools write it, which is not always as RFC 8259 has it."""

import json
import re
from typing import Any

import msgspec

_STRING_OR_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?(?:NaN|Infinity)', re.DOTALL)
_ESCAPE = re.compile(
    rb"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)


class BrokenFile(ValueError):
    """A file that cannot be read from some place on. Quotes nothing of it."""


def decoded(raw: bytes | msgspec.Raw) -> Any:
    """The value in `raw`, mended if need be. Raises ValueError, which quotes nothing."""
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(mended(bytes(raw)))  # reads numbers beyond 64 bits, too
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None
    except UnicodeError:
        raise ValueError("It is not UTF-8.") from None
    except ValueError as error:
        raise ValueError(f"It is not JSON: {error}.") from None


def mended(raw: bytes) -> bytes:
    """JSON without what Python writes and no other reader takes.

    NaN and infinite numbers become null, and a lone surrogate, which is no character and cannot be
    stored, U+FFFD. Otherwise a single text could spoil all that comes with it.
    """
    return _STRING_OR_NUMBER.sub(_mended_token, raw)


def _mended_token(token: re.Match[bytes]) -> bytes:
    found = token[0]
    if found[:1] != b'"':
        return b"null"
    return _ESCAPE.sub(_mended_escape, found) if b"\\u" in found else found


def _mended_escape(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["lone"] else escape[0]
