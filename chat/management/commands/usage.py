"""`manage.py usage`: how much was used, and what it cost."""

import csv
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from chat.management import arguments
from chat.management.base import WRONG_USE
from chat.usage import Line, Question, count, period, report
from storage.exceptions import StorageError

USERS_AT_ONCE = 100

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a cell that begins so for a formula, and run it."""

LATE = timedelta(seconds=30)
"""How far behind numbers may be that count as those of now."""

INCOMPLETE = "Some interactions are not counted. Count all again with: manage.py rebuild_usage"


class Command(BaseCommand):
    """Exit statuses: 0 done, 1 the store did not answer, 2 wrong arguments."""

    help = "Show interactions, tokens and costs by day, model or user."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from",
            dest="first",
            type=arguments.day,
            metavar="DAY",
            help="default: 30 days in all",
        )
        parser.add_argument(
            "--to", dest="last", type=arguments.day, metavar="DAY", help="inclusive; default: today"
        )
        parser.add_argument(
            "--by",
            type=arguments.dimensions,
            default=("day",),
            metavar="GROUPS",
            help="day, model or user, or several with commas between them; default: day",
        )
        parser.add_argument("--model", metavar="NAME", help="only this model")
        parser.add_argument("--user", type=arguments.user, metavar="ID", help="only this user")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--csv", action="store_true", help="write CSV, for spreadsheets")
        form.add_argument("--json", action="store_true", help="write a line of JSON for each group")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            first, last = period(options["first"], options["last"])
        except ValueError as error:
            raise CommandError(f"--from {error}", returncode=WRONG_USE) from error
        question = Question(first, last, options["by"], options["model"], options["user"])
        try:
            complete_until = count()
            lines, unpriced = _all(question)
        except StorageError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            for line in lines:
                self.stdout.write(orjson.dumps(line.as_record()).decode())
        elif options["csv"]:
            csv.writer(self.stdout, lineterminator="\r\n").writerows(_cells(lines, question))
        else:
            self._show(lines, question)
        # Beside the numbers, not among them: these may go to a file.
        if complete_until is None:
            self.stderr.write(INCOMPLETE)
        elif complete_until < datetime.now(UTC) - LATE:
            self.stderr.write(
                f"Counted until {complete_until:%Y-%m-%d %H:%M:%SZ}. Servers go on counting every "
                "few minutes, and so does this command each time."
            )
        if unpriced:
            self.stderr.write(f"No price for {', '.join(map(_printable, unpriced))}.")

    def _show(self, lines: list[Line], question: Question) -> None:
        if not lines:
            self.stdout.write(f"Nothing was used from {question.first} to {question.last}.")
            return
        head, *rows = _table(lines, question)
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        groups = len(question.group_by)
        for row in (head, *rows):
            cells = [
                cell.ljust(width) if index < groups else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.stdout.write("  ".join(cells).rstrip())


def _all(question: Question) -> tuple[list[Line], list[str]]:
    """The lines of all pages, and the models without a price."""
    lines: list[Line] = []
    unpriced: set[str] = set()
    after: str | None = ""
    while after is not None:
        page = report(question, after, USERS_AT_ONCE)
        lines += page.lines
        unpriced.update(page.unpriced_models)
        after = page.next_user
    return lines, sorted(unpriced)


def _groups(line: Line, question: Question) -> list[str]:
    named = {"day": line.day, "model": line.model_used, "user": line.user_id}
    return [str(named[group]) for group in question.group_by]


def _table(lines: list[Line], question: Question) -> Iterator[list[str]]:
    yield [
        *question.group_by,
        *("interactions", "unanswered", "input tokens", "output tokens"),
        settings.CURRENCY,
        "without price",
    ]
    for line in lines:
        counts = (line.interactions, line.unanswered, line.input_tokens, line.output_tokens)
        yield [
            *map(_printable, _groups(line, question)),
            *(f"{number:,}" for number in counts),
            line.cost_shown or "-",
            f"{line.unpriced_interactions:,}",
        ]


def _cells(lines: list[Line], question: Question) -> Iterator[list[Any]]:
    """The rows of a CSV file. Texts cannot be taken for formulas."""
    names = {"day": "day", "model": "model_used", "user": "user_id"}
    numbers = ["interactions", "unanswered", "input_tokens", "output_tokens", "cost"]
    numbers += ["unpriced_interactions"]
    yield [*(names[group] for group in question.group_by), *numbers, "currency"]
    for line in lines:
        record = line.as_record()
        yield [
            *map(_no_formula, _groups(line, question)),
            *(record[name] for name in numbers),
            settings.CURRENCY,
        ]


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _printable(text: str) -> str:
    """The text on one line: what a terminal would obey is written as Python writes it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
