"""The plots of the first page, with the numbers behind them as tables."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import orjson
from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString

from chat.usage import Line, to_cents

SERIES_MAX = 7
"""Models that are told apart; there are that many colours. The others are summed up."""


@dataclass(frozen=True)
class Plot:
    """A number a day for each model. All texts are ready to be shown."""

    name: str
    title: str
    chart: str
    """What the script draws, as JSON."""
    head: list[str]
    rows: SafeString
    """A row a day, the newest first, with a cell for each model and one for their sum.

    It is HTML: with 90 days and three models, a template takes as long as all the rest does.
    """


def plots(lines: Iterable[Line], days: Sequence[date], models: Sequence[str]) -> list[Plot]:
    """The plots of a period. The first of `models` are told apart."""
    known = list(lines)
    table = _Table(known, days, models)
    found = [
        table.plot("interactions", "Interactions a day", lambda line: line.interactions, _count),
        table.plot("tokens", "Tokens a day", lambda line: line.tokens, _count),
    ]
    if any(line.cost is not None for line in known):
        title = f"Cost a day, in {settings.CURRENCY}"
        found.append(table.plot("cost", title, lambda line: line.cost, _money))
    return found


class _Table:
    """The lines by day and series."""

    def __init__(self, lines: list[Line], days: Sequence[date], models: Sequence[str]) -> None:
        self._days = days
        self._names = list(models[:SERIES_MAX])
        rest = len(models) - SERIES_MAX
        if rest > 0:
            self._names.append(f"{rest} other model{'s' if rest > 1 else ''}")
        columns = {name: index for index, name in enumerate(models[:SERIES_MAX])}
        rows = {day: index for index, day in enumerate(days)}
        self._places = [
            (rows[line.day], columns.get(line.model_used or "", SERIES_MAX), line)
            for line in lines
            if line.day in rows
        ]

    def plot(
        self, name: str, title: str, number: Callable[[Line], Any], text: Callable[[Any], str]
    ) -> Plot:
        """One number of each line, or None where a line has none."""
        cells: list[list[list[Any]]] = [[[] for _ in self._names] for _ in self._days]
        for row, column, line in self._places:
            cells[row][column].append(number(line))
        numbers = [[_sum(found) for found in row] for row in cells]
        chart = {
            "labels": self._days,
            "series": [
                {"label": label, "values": [float(row[index] or 0) for row in numbers]}
                for index, label in enumerate(self._names)
            ],
        }
        has_sum = len(self._names) > 1
        rows = [
            _row(day, map(text, [*row, _sum(row)] if has_sum else row))
            for day, row in zip(self._days, numbers, strict=True)
        ]
        head = [*self._names, "Sum"] if has_sum else self._names
        # Digits and names of months: nothing that a client has sent.
        return Plot(
            name, title, orjson.dumps(chart).decode(), head, SafeString("".join(rows[::-1]))
        )


def _row(day: date, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{day:%-d %b %Y}</th><td>{"</td><td>".join(cells)}</td></tr>'


def _sum(numbers: Iterable[Any]) -> Any:
    """The sum of those that are known; None without any."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _count(number: int | None) -> str:
    return f"{number or 0:,}"


def _money(cost: Decimal | None) -> str:
    return escape(to_cents(cost)) or "\N{EN DASH}"
