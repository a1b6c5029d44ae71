"""Long texts in parts, so that no page is larger or takes longer than a bounded one.

The first part is short enough to be rendered, the others to be shown as they are. A part ends
with a line; a line that is longer than that ends within itself.
"""

import re
from collections.abc import Callable

from django.utils.html import escape

PART = 100_000
"""Bytes of UTF-8 that a part has at most."""

LINE_COST = 30
MARK_COST = 6
"""What a line and a mark of Markdown cost, compared with a byte of plain words. So rendering takes
about 50 ms for a part as models write, and at most 250 ms for one of nothing but marks."""

_MARKS = re.compile(r"[!#$%&*+\-:<=>@\[\\\]^_`{|}~]")

Cost = Callable[[str], int]


def split(text: str, *, to_render: bool) -> list[str]:
    """The parts of a text, at least one. With `to_render` the first is for `markdown.render`."""
    parts: list[str] = []
    start, cost = 0, _to_render if to_render else _to_show
    while start < len(text) or not parts:
        end = _end(text, start, cost)
        parts.append(text[start:end])
        start, cost = end, _to_show
    return parts


def _to_render(text: str) -> int:
    lines = text.count("\n") + 1
    return max(_to_show(text), LINE_COST * lines + MARK_COST * len(_MARKS.findall(text)))


def _to_show(text: str) -> int:
    return len(escape(text).encode())


def _end(text: str, start: int, cost: Cost) -> int:
    """Where the part that begins at `start` ends."""
    fits, too_far = start, min(len(text), start + PART) + 1
    while too_far - fits > 1:
        middle = (fits + too_far) // 2
        if cost(text[start:middle]) <= PART:
            fits = middle
        else:
            too_far = middle
    line_end = text.rfind("\n", start, fits) + 1
    is_last, is_short = fits == len(text), line_end - start < (fits - start) / 2
    return fits if is_last or is_short else line_end
