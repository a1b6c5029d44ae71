"""`manage.py cache_audit [--sample N | --all]`: whether what is cached is what is stored."""

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from prometheus_client import CollectorRegistry, Gauge

from chat.metrics.files import leave_metrics
from storage import get_storage
from storage.exceptions import NoSharedCache, StorageError
from storage.records.audit import Audit

SAMPLE = 1000
"""Entries, unless the call says how many."""


class Command(BaseCommand):
    """Names each difference on standard error, without users and texts. Exit status 1: any."""

    help = "Compare cached entries with the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        amount = parser.add_mutually_exclusive_group()
        amount.add_argument(
            "--sample",
            type=_count,
            default=SAMPLE,
            metavar="N",
            help=f"compare about N entries, chosen at random; default: {SAMPLE}",
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
        for difference in found.differences:
            of = f" of {difference.interaction_id}" if difference.interaction_id else ""
            self.stderr.write(f"{difference.key} ({difference.kind}{of}) differs.")
        for kind, count in found.entries.items():
            self.stdout.write(f"{kind:<16} {count}")
        self.stdout.write(
            f"Values are up to {found.oldest:.1f} s old, half of them up to {found.median:.1f} s.\n"
            f"{len(found.differences)} differences."
        )


def measured(found: Audit) -> CollectorRegistry:
    """What Prometheus is told of an audit that has ended now."""
    registry = CollectorRegistry()
    entries = Gauge(
        "chat_cache_audit_entries",
        "Entries that the last cache_audit looked at.",
        ["kind"],
        registry=registry,
    )
    for kind, count in found.entries.items():
        entries.labels(kind).set(count)
    for name, meaning, value in (
        ("differences", "Entries that differed from the database in it.", len(found.differences)),
        ("oldest_seconds", "The age of the oldest value in it.", found.oldest),
        ("timestamp_seconds", "When it ended, in seconds since 1970.", time.time()),
    ):
        Gauge(f"chat_cache_audit_{name}", meaning, registry=registry).set(value)
    return registry


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("write how many, from 1")
    return int(text)
