"""`manage.py dynamodb_table create|check|describe`: the DynamoDB table of production."""

import sys
from argparse import ArgumentParser
from typing import Any

from botocore.exceptions import BotoCoreError
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from storage.dynamodb import table
from storage.dynamodb.advice import advice
from storage.dynamodb.client import Client
from storage.dynamodb.configured import configured_client
from storage.exceptions import StorageError


class Command(BaseCommand):
    """Works in every environment with AWS_REGION. Exit status 1: the table is not as it must be."""

    help = "Create the DynamoDB table or what it lacks, check it, or describe it."
    requires_system_checks = []  # it must work when they fail

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["create", "check", "describe"])

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            client = configured_client()
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
