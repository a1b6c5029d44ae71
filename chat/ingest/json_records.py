"""Reads JSON as tools write it, which is not always as RFC 8259 has it."""

import json
from typing import Any

import msgspec


class BrokenFile(ValueError):
    """A file that cannot be read from some place on. Quotes nothing of it."""


def decoded(raw: bytes | msgspec.Raw) -> Any:
    """The value in `raw`. Raises ValueError, which says what is wrong and quotes nothing.

    Python's `json` writes NaN and lone surrogates, and other tools numbers beyond 64 bits. They
    are read, because a record may be sound where it matters.
    """
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None
    except ValueError:
        pass
    try:
        return json.loads(bytes(raw))
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None
    except UnicodeError:
        raise ValueError("It is not UTF-8.") from None
    except ValueError as error:
        raise ValueError(f"It is not JSON: {error}.") from None
