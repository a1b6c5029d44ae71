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
"""What a line and a mark of Markdown cost, compared with a byte of plain words. So rendering PART
takes about 80 ms with what models write, and at most 300 ms with nothing but marks."""

_MARKS = re.compile(r"[!#$%&*+\-:<=>@\[\\\]^_`{|}~]")

Cost = Callable[[str], int]


def split(text: str, *, to_render: int = 0) -> list[str]:
    """The parts of a text, at least one.

    With `to_render`, the first one is for `markdown.render` and costs no more than that.
    """
    parts: list[str] = []
    start, cost, limit = 0, _to_render if to_render else _to_show, to_render or PART
    while start < len(text) or not parts:
        end = _end(text, start, cost, limit)
        parts.append(text[start:end])
        start, cost, limit = end, _to_show, PART
    return parts


def shares(one: str, other: str) -> tuple[int, int]:
    """What rendering each of two texts on one page may cost: PART together, and half at least."""
    costs = [min(_to_render(text[:PART]), PART) for text in (one, other)]
    return max(PART // 2, PART - costs[1]), max(PART // 2, PART - costs[0])


def _to_render(text: str) -> int:
    lines = text.count("\n") + 1
    return max(_to_show(text), LINE_COST * lines + MARK_COST * len(_MARKS.findall(text)))


def _to_show(text: str) -> int:
    return len(escape(text).encode())


def _end(text: str, start: int, cost: Cost, limit: int) -> int:
    """Where the part that begins at `start` ends."""
    fits, too_far = start, min(len(text), start + limit) + 1
    while too_far - fits > 1:
        middle = (fits + too_far) // 2
        if cost(text[start:middle]) <= limit:
            fits = middle
        else:
            too_far = middle
    line_end = text.rfind("\n", start, fits) + 1
    is_last, is_short = fits == len(text), line_end - start < (fits - start) / 2
    return fits if is_last or is_short else line_end
