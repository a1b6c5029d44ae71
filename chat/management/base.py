"""What the commands share that cron runs: their options, how they end, and what they leave behind.

Standard output has one line of JSON, the summary; standard error has progress and, if a run fails,
one plain line.
"""

import signal
import sys
import threading
import time
from abc import abstractmethod
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime

from chat.maintenance.policy import Policy
from chat.maintenance.runs import OutOfTime, Run
from chat.management.interrupts import ctrl_c
from chat.metrics import maintenance as maintenance_metrics
from chat.progress import progress
from storage import get_storage
from storage.exceptions import StorageError
from storage.interface import Storage

STOPPED = 3
"""Exit status of a run that ended at its bound, with work left."""

INTERRUPTED = 130

LARGEST_BATCH = 1_000_000


class MaintenanceCommand(BaseCommand):
    """A subclass supplies `new_report` and `work`, and options of its own in `add_options`.

    Exit status: 0 done, 1 failed, 2 wrong use, 3 stopped at the bound or by SIGTERM with work
    left, 130 stopped with Ctrl-C.
    """

    batch_size = 5000
    """Rows in one batch, unless the option says otherwise."""

    locks = True
    """Whether runs of it must not overlap with others."""

    @abstractmethod
    def new_report(self) -> Any:
        """A dataclass of counts, all zero, with `remaining`: how much is left, None if unknown."""

    @abstractmethod
    def work(self, storage: Storage, run: Run, report: Any, options: dict[str, Any]) -> None:
        """Do it, and count in `report` as it goes."""

    def add_options(self, parser: ArgumentParser) -> None:
        """Options of this command alone."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_options(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would happen, and change nothing"
        )
        parser.add_argument(
            "--now",
            type=moment,
            metavar="TIME",
            help="judge ages as of this time, such as 2026-11-22T00:00:00Z; for drills",
        )
        parser.add_argument(
            "--max-seconds",
            type=seconds,
            metavar="SECONDS",
            help="stop at the next step after so long, with exit status 3 if work is left",
        )
        parser.add_argument(
            "--batch-size",
            type=count,
            default=self.batch_size,
            metavar="ROWS",
            help=f"rows in one step; default: {self.batch_size}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        report = self.new_report()
        status = "failed"
        try:
            self._run(report, options)
            status = "done"
        except OutOfTime:
            status = "stopped"
        except KeyboardInterrupt:
            status = "stopped"
            raise CommandError(
                "Stopped. What was done so far is sound; run it again.", returncode=INTERRUPTED
            ) from None
        except (StorageError, OSError) as error:
            raise CommandError(_in_one_line(error)) from error
        finally:
            self._tell(report, status, time.monotonic() - started, options["dry_run"])
        if status == "stopped":
            sys.exit(STOPPED)

    def _run(self, report: Any, options: dict[str, Any]) -> None:
        storage = get_storage()
        with progress(self.name) as show:
            run = Run(
                storage,
                now=options["now"],
                dry_run=options["dry_run"],
                batch_size=options["batch_size"],
                max_seconds=options["max_seconds"],
                report=show,
                lock=self.locks,
            )
            with ctrl_c(), _stopped_by_sigterm(run), run:
                self.work(storage, run, report, options)

    def _tell(self, report: Any, status: str, taken: float, dry_run: bool) -> None:
        """Leave the metrics and write the summary. A run that is done is done without them."""
        counts = _counts(report, status)
        try:
            if not dry_run:
                maintenance_metrics.leave(self.name, status, taken, counts)
        except OSError as error:
            self.stderr.write(f"The metrics of this run could not be left: {_in_one_line(error)}")
        summary = {
            "command": self.name,
            "status": status,
            "dry_run": dry_run,
            "seconds": round(taken, 3),
            **counts,
        }
        self.stdout.write(orjson.dumps(summary).decode())

    @property
    def name(self) -> str:
        """The name of the command."""
        return type(self).__module__.rpartition(".")[2]


def policy_of(run: Run) -> Policy:
    """What is due in this run."""
    return Policy.at(run.now)


def moment(text: str) -> datetime:
    """A time with an offset."""
    try:
        value = parse_datetime(text)
        if value is not None and value.utcoffset() is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ArgumentTypeError("write a time with an offset, such as 2026-11-22T00:00:00Z")


def seconds(text: str) -> float:
    """A time to take; 0 ends at the first step."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError("write a number of seconds, from 0")
    return value


def count(text: str) -> int:
    """How many, at least one."""
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= LARGEST_BATCH:
        raise ArgumentTypeError(f"write how many, from 1 to {LARGEST_BATCH}")
    return number


def _counts(report: Any, status: str) -> dict[str, Any]:
    counts = {field.name: getattr(report, field.name) for field in fields(report)}
    if status != "done" and counts.get("remaining") == 0:
        counts["remaining"] = None  # it ended before it knew
    return counts


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _stopped_by_sigterm(run: Run) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives signals to the main thread only
        return
    before = signal.signal(signal.SIGTERM, lambda *_: run.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
