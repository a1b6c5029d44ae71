"""What is wrong with a request. An answer names the first mistakes, and says how many there are.

A body of 2 MB can have 260,000 mistakes. Nothing is built for those that are only counted.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

ERRORS_MAX = 100
"""Mistakes that an answer names."""

TEXT_MAX = 300
"""Characters of a pointer, a parameter's name or a detail. Clients choose names as they like."""


class Mistakes:
    """The first ERRORS_MAX mistakes, in `first`, and the number of all, in `count`."""

    def __init__(self) -> None:
        self.first: list[dict[str, Any]] = []
        self.count = 0

    def add(self, detail: str, *path: str | int) -> None:
        """Add a mistake in the body. `path` leads there: names of fields and indexes of items."""
        self.count += 1
        if len(self.first) < ERRORS_MAX:
            parts = "".join(f"/{_escaped(_cut(str(part)))}" for part in path)
            self.first.append({"pointer": _cut(f"#{parts}"), "detail": _cut(detail)})

    def add_each(self, detail: str, count: int, names: Iterable[str], *path: str | int) -> None:
        """Add the same mistake of so many names below a path. No more are asked for than named."""
        before = self.count
        for name in islice(names, max(ERRORS_MAX - len(self.first), 0)):
            self.add(detail, *path, name)
        self.count = before + count

    def add_fields(self, violations: Mapping[str, str], *path: str | int) -> None:
        """Add broken limits (`storage.limits`), by field. `path` leads to their object."""
        for name, text in violations.items():
            self.add(f"{name} {text}" if _continues(text) else text, *path, name)

    def add_parameter(self, name: str, detail: str) -> None:
        """Add a mistake in a query parameter."""
        self.count += 1
        if len(self.first) < ERRORS_MAX:
            self.first.append({"parameter": _cut(name), "detail": _cut(detail)})


def _continues(text: str) -> bool:
    return text.startswith(("must ", "cannot "))


def _escaped(name: str) -> str:
    """The name as part of a JSON Pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"
