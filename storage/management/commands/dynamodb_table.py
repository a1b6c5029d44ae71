"""`manage.py dynamodb_table create|check|describe|upgrade`: the DynamoDB table of production."""

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from botocore.exceptions import BotoCoreError
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from storage.dynamodb import table, upgrade
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
        "Create the DynamoDB table or what it lacks, check it, describe it, or rewrite the items "
        "of earlier versions."
    )
    requires_system_checks = []  # it must work when they fail

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["create", "check", "describe", "upgrade"])
        parser.add_argument(
            "--rate",
            type=_rate,
            default=RATE,
            help=f"upgrade: items to rewrite in a second at most, {RATE} by default",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="upgrade: only count the items that would be rewritten",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            client = configured_client()
            if options["action"] == "upgrade":
                self._upgrade(client, options["rate"], options["dry_run"])
                return
            {"create": self._create, "check": self._check, "describe": self._describe}[
                options["action"]
            ](client)
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
        for difference in found:
            self.stderr.write(difference)
        if found:
            sys.exit(1)
        self.stdout.write(f"The table {client.table} is as it must be.")

    def _describe(self, client: Client) -> None:
        described = table.describe(client)
        width = max(map(len, described))
        for name, value in described.items():
            self.stdout.write(f"{name:<{width}}  {value}")

    def _upgrade(self, client: Client, rate: int, dry_run: bool) -> None:
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
