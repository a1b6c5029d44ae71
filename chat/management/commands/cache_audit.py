"""`manage.py cache_audit [--sample N | --all]`: compares cached entries with the database."""

import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from prometheus_client import CollectorRegistry, Gauge

from chat.management.arguments import count
from chat.metrics.files import leave_metrics
from storage import get_storage
from storage.exceptions import NoSharedCache, StorageError
from storage.records.audit import Audit

SAMPLE = 1000
"""The number of entries, unless the call says another one."""


class Command(BaseCommand):
    """Writes each difference to standard error, without user and text. Then exits with 1."""

    help = "Compare cached entries with the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        amount = parser.add_mutually_exclusive_group()
        amount.add_argument(
            "--sample",
            type=count,
            default=SAMPLE,
            metavar="N",
            help=f"compare about N entries, the first that Redis lists; default: {SAMPLE}",
        )
        amount.add_argument("--all", action="store_true", help="compare all entries")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            storage, sample = get_storage(), None if options["all"] else options["sample"]
            found = storage.cache.audit(storage.database.read, storage.database.find_answer, sample)
            self._report(found)
            leave_metrics("cache_audit", measured(found))
        except NoSharedCache as error:
            self.stdout.write(f"{error} Nothing to compare.")
            return
        except (OSError, StorageError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped.", returncode=130) from None
        if found.differences:
            sys.exit(1)

    def _report(self, found: Audit) -> None:
        for key, kind, interaction_id in found.differences:
            of = f" of {interaction_id}" if interaction_id else ""
            self.stderr.write(f"{key} ({kind}{of}) differs.")
        for kind, number in found.entries.items():
            self.stdout.write(f"{kind:<16} {number}")
        self.stdout.write(
            f"Values are up to {found.oldest:.1f} s old, half of them up to {found.median:.1f} s.\n"
            f"{len(found.differences)} differences."
        )


def measured(found: Audit) -> CollectorRegistry:
    """The metrics of an audit that has just ended."""
    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"chat_cache_audit_{name}", meaning, labels, registry=registry)

    entries = gauge("entries", "Entries that the last cache_audit looked at.", "kind")
    for kind, number in found.entries.items():
        entries.labels(kind).set(number)
    differences = gauge("differences", "Entries that differed from the database in it.")
    differences.set(len(found.differences))
    gauge("oldest_seconds", "The age of the oldest value in it.").set(found.oldest)
    gauge("timestamp_seconds", "When it ended, in seconds since 1970.").set(time.time())
    return registry
