"""The base of the commands that cron runs: their options, exit statuses, summaries and metrics.

A run writes its summary to standard output, as one line of JSON. Progress goes to standard error,
and so does one line of text if the run fails.
"""

import signal
import sys
import time
from abc import abstractmethod
from argparse import ArgumentParser
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError

from chat.maintenance.policy import Policy
from chat.maintenance.runs import OutOfTime, Run
from chat.management import arguments
from chat.management.interrupts import ctrl_c, handled
from chat.metrics.maintenance import leave_run_metrics
from chat.progress import progress
from storage import get_storage
from storage.exceptions import StorageError
from storage.interface import Storage
from storage.records.runs import Ended
from storage.startup import schema

WRONG_USE = 2
"""Exit status for wrong arguments, as in argparse."""

STOPPED = 3
"""Exit status of a run that stopped with work left: its time was over, or SIGTERM came."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells."""


class MaintenanceCommand(BaseCommand):
    """A command that cron runs. Subclasses define `report_class`, `work` and maybe `add_options`.

    Exit statuses: 0 done, 1 failed, 2 wrong arguments, 3 stopped by --max-seconds or SIGTERM with
    work left, 130 stopped with Ctrl-C.

    A report is filled in while the work is done, and not returned at its end, so that the summary
    of a run that fails has its counts too.
    """

    report_class: type[Any]
    """A dataclass of counts, all zero. `remaining` is the work left, or None if unknown."""

    batch_size = 5000
    """The default of --batch-size."""

    locks = True
    """Whether a run acquires the maintenance lock, so that it does not overlap with others."""

    is_remembered = False
    """Whether staff see how it last ended: for what is to run regularly."""

    @abstractmethod
    def work(self, storage: Storage, run: Run, report: Any, options: dict[str, Any]) -> None:
        """Do the work, and count it in `report` on the way."""

    def refuse(self, storage: Storage, run: Run, options: dict[str, Any]) -> None:
        """Raise StorageError if the work may not begin. A dry run is refused as well."""

    def add_options(self, parser: ArgumentParser) -> None:
        """Add the options that only this command has."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_options(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="report what would be done, and change nothing"
        )
        parser.add_argument(
            "--now",
            type=arguments.now,
            metavar="TIME",
            help="compute ages as of this time, such as 2026-11-22T00:00:00Z; for drills",
        )
        parser.add_argument(
            "--max-seconds",
            type=arguments.seconds,
            metavar="SECONDS",
            help="stop after this time, at the next step; exit status 3 if work is left",
        )
        parser.add_argument(
            "--batch-size",
            type=arguments.count,
            default=self.batch_size,
            metavar="ROWS",
            help=f"rows in one batch; default: {self.batch_size}",
        )
        if self.locks:
            add_wait(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        report = self.report_class()
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
                wait=options.get("wait", 0.0),
                report=show,
                lock=self.locks,
            )
            with ctrl_c(), handled(signal.SIGTERM, lambda *_: run.stop()), run:
                self.refuse(storage, run, options)
                self.work(storage, run, report, options)

    def _tell(self, report: Any, status: str, taken: float, dry_run: bool) -> None:
        """Write the metrics and the summary. A failure to write the metrics fails no run."""
        counts = _counts(report, status)
        try:
            if not dry_run:
                self._remember(status)
                leave_run_metrics(self.name, status, taken, counts)
        except OSError as error:
            self.stderr.write(f"The metrics of this run could not be left: {_in_one_line(error)}")
        summary = {
            "command": self.name,
            "status": status,
            "dry_run": dry_run,
            "seconds": round(taken, 3),
            **counts,
        }
        with suppress(BrokenPipeError):  # nobody reads it, and the exit status says it all
            self.say(report, summary)

    def _remember(self, status: str) -> None:
        """Tell the database, which servers on other machines can ask. They miss it if it fails."""
        if self.is_remembered and schema.exists():  # verify_backup needs no database, nor makes one
            with suppress(StorageError):  # what ended the run, most likely
                ended = Ended(datetime.now(UTC), status)
                get_storage().database.record_end(self.name, ended)

    def say(self, report: Any, summary: dict[str, Any]) -> None:
        """Write what a run has done to standard output."""
        self.stdout.write(orjson.dumps(summary).decode())

    @property
    def name(self) -> str:
        """The name of the command, which is that of its module."""
        return type(self).__module__.rpartition(".")[2]


def add_wait(parser: ArgumentParser) -> None:
    """Add the option of a command that acquires the lock."""
    parser.add_argument(
        "--wait",
        type=arguments.seconds,
        default=0.0,
        metavar="SECONDS",
        help="wait so long for another maintenance run to end; default: 0",
    )


def policy_of(run: Run) -> Policy:
    """What is due at the time of this run."""
    return Policy.at(run.now)


def _counts(report: Any, status: str) -> dict[str, Any]:
    counts = {field.name: getattr(report, field.name) for field in fields(report)}
    if status != "done" and counts.get("remaining") == 0:
        counts["remaining"] = None  # it ended before the rest was counted
    return counts


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
