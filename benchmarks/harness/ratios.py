"""Ratios of figures that were measured in turns: they hold on other machines, figures do not."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Ratio(NamedTuple):
    """The median, lowest and highest of the rounds' ratios."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}..{self.high:.{digits}f})"


def ratio(pairs: Iterable[tuple[float, float]]) -> Ratio:
    """Of the first figure of each pair to the second."""
    found = [first / second for first, second in pairs]
    return Ratio(median(found), min(found), max(found))


Ratios = dict[str, Ratio]
"""By a name like `api/real/plain_drf/1/cpu/get by id`."""


def save(ratios: Ratios, file: Path | None) -> None:
    """Write them as JSON, if a file is named."""
    if file is not None:
        file.write_text(json.dumps(ratios, indent=1) + "\n")


def load(file: Path) -> Ratios:
    """Read what `save` wrote."""
    return {name: Ratio(*values) for name, values in json.loads(file.read_text()).items()}


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table, of which the first column is text."""
    header = [title, *columns]
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (header, rule, *rows))
