"""Reads JSON as tools write it, which is not always as RFC 8259 has it."""

import json
import re
from typing import Any

import msgspec

_TOKEN = re.compile(
    rb'(?P<sound>(?:[^"NI-]|"(?:[^"\\]|\\[^u])*+")++)'
    rb'|(?P<text>"(?:[^"\\]|\\.)*+"?)|-?(?:NaN|Infinity)',
    re.DOTALL,
)
"""What is sound is passed over in one go. A text without an end is one, too: otherwise each quote
in it would be tried as a beginning, which takes the square of its length."""
_LONE = re.compile(
    rb"((?:[^\\]|\\[^u]|\\u(?![dD][89a-fA-F])"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})++)"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}",
    re.DOTALL,
)
"""A lone surrogate; what is sound before it is passed over in one go, here too."""


class BrokenFile(ValueError):
    """A file that cannot be read from some place on. Quotes nothing of it."""


def decoded(raw: bytes | str | msgspec.Raw) -> Any:
    """The value in `raw`, mended if need be. Raises ValueError, which quotes nothing."""
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(
            mended(raw.encode() if isinstance(raw, str) else bytes(raw))
        )  # reads numbers beyond 64 bits, too
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
    return _TOKEN.sub(_mended_token, raw)


def _mended_token(token: re.Match[bytes]) -> bytes:
    if token.lastgroup is None:
        return b"null"
    found = token[0]
    is_sound = token.lastgroup == "sound" or b"\\u" not in found
    return found if is_sound else _LONE.sub(_mended_escape, found)


def _mended_escape(escape: re.Match[bytes]) -> bytes:
    return escape[1] or rb"\ufffd"
