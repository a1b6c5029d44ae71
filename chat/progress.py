"""The progress of a command: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_LINE_SECONDS = 10.0
"""The time between two plain lines."""


class Report(Protocol):
    """Called with the number of things done so far, and the share of the whole if known."""

    def __call__(self, done: int, share: float | None = None) -> None: ...


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Report progress on standard error, so that standard output stays the command's own."""
    if sys.stderr.isatty():
        with _bar(what) as report:
            yield report
    else:
        yield _PlainLines(what)


@contextmanager
def _bar(what: str) -> Iterator[Report]:
    from rich.console import Console  # slow to import, and cron does not need it
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, share: float | None = None) -> None:
            total = None if share is None else 1.0
            bar.update(task, description=f"{what} {done:,}", completed=share, total=total)

        yield report


class _PlainLines:
    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + PLAIN_LINE_SECONDS

    def __call__(self, done: int, share: float | None = None) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PLAIN_LINE_SECONDS
        percent = "" if share is None else f" ({share:.0%})"
        print(f"{self._what} {done}{percent}", file=sys.stderr, flush=True)
