"""`manage.py dynamodb_table create|check|describe|shards|upgrade`: the table of production."""

import math
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from botocore.exceptions import BotoCoreError
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from storage.dynamodb import shards, table, upgrade
from storage.dynamodb.advice import advice
from storage.dynamodb.client import Client
from storage.dynamodb.configured import configured_client
from storage.exceptions import StorageError

RATE = 100
"""Items a second: about 300 write units, well below what a new table on demand takes (4,000)."""

LARGEST_RATE = 10_000


class Command(BaseCommand):
    """Works in every environment with AWS_REGION. Exit status 1: the table is not as it must be."""

    help = (
        "Create the DynamoDB table or what it lacks, check it, describe it, raise its shards, or "
        "rewrite the items of earlier versions."
    )
    requires_system_checks = []  # it must work when they fail

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        actions.add_parser("create", help="make the table, or what it lacks")
        actions.add_parser("check", help="name each thing that is missing or wrong")
        actions.add_parser("describe", help="show its state")
        raising = actions.add_parser(
            "shards", help="show, or raise, the number of shards of the index of everyone's"
        )
        raising.add_argument(
            "number", nargs="?", type=int, help="raise it to this; it takes a minute"
        )
        raising.add_argument("--dry-run", action="store_true", help="only say what would be done")
        rewriting = actions.add_parser("upgrade", help="rewrite the items of earlier versions")
        rewriting.add_argument(
            "--rate", type=_rate, default=RATE, help=f"items a second at most, {RATE} by default"
        )
        rewriting.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            client = configured_client()
            match options["action"]:
                case "create":
                    self._create(client)
                case "check":
                    self._check(client)
                case "describe":
                    self._describe(client)
                case "shards":
                    self._shards(client, options["number"], dry_run=options["dry_run"])
                case "upgrade":
                    self._upgrade(client, options["rate"], dry_run=options["dry_run"])
        except (ImproperlyConfigured, BotoCoreError) as error:
            raise CommandError(str(error)) from error
        except StorageError as error:
            raise CommandError(advice(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped; run it again to go on.", returncode=130) from None

    def _create(self, client: Client) -> None:
        for line in table.create(client):
            self.stdout.write(f"{client.table}: {line}")
        self._check(client)

    def _check(self, client: Client) -> None:
        found = table.differences(client)
        if not found and not (counts := shards.read(client)).is_settled:
            found.append(
                f"A raise to {counts.read} shards is under way, or was interrupted; then run it "
                f"again: manage.py dynamodb_table shards {counts.read}"
            )
        for difference in found:
            self.stderr.write(difference)
        if found:
            sys.exit(1)
        self.stdout.write(f"The table {client.table} is as it must be.")

    def _describe(self, client: Client) -> None:
        described = table.describe(client) | {"shards of newest": shards.read(client)}
        width = max(map(len, described))
        for name, value in described.items():
            self.stdout.write(f"{name:<{width}}  {value}")

    def _shards(self, client: Client, number: int | None, *, dry_run: bool) -> None:
        counts = shards.read(client)
        if number is None:
            self.stdout.write(f"{client.table}: {counts}")
            return
        if problem := shards.problem(counts, number):
            raise CommandError(problem)
        if counts.is_settled and number == counts.written:
            self.stdout.write(f"{client.table}: has {number} shards already")
            return
        seconds = shards.WAIT_SECONDS
        if dry_run:
            self.stdout.write(
                f"{client.table}: would go from {counts.written} to {number} shards, which takes "
                f"{seconds:.0f} s"
            )
            return
        shards.begin_raise(client, number)
        self.stdout.write(
            f"{client.table}: lists read {number} shards; waiting {seconds:.0f} s until every "
            "server knows"
        )
        time.sleep(seconds)
        shards.end_raise(client, number)
        self.stdout.write(f"{client.table}: {shards.read(client)}")

    def _upgrade(self, client: Client, rate: int, *, dry_run: bool) -> None:
        if dry_run:
            *_, found = upgrade.count_old(client)
            self.stdout.write(
                f"{found.rewritten} of {found.seen} items would be rewritten, which takes at least "
                f"{math.ceil(found.rewritten / rate)} s."
            )
            return
        for done in upgrade.upgrade(client, rate):
            self.stdout.write(f"Looked at {done.seen} items, rewrote {done.rewritten}.")
        left = done.changed_by_others
        if left:
            self.stdout.write(f"Others changed {left} meanwhile; run it again for those.")
        self.stdout.write("That was the end of the table. --dry-run counts what is left.")


def _rate(text: str) -> int:
    rate = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= rate <= LARGEST_RATE:
        raise ArgumentTypeError(f"must be a whole number from 1 to {LARGEST_RATE}.")
    return rate
