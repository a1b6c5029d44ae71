"""`manage.py create_api_key NAME [--user ID | --may-erase]`: make a key for a chat service."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from chat.management.notes import note
from storage.models import ApiKey


class Command(BaseCommand):
    """Prints the new key on standard output. Only its hash is stored, so it is shown once."""

    help = "Create an API key, service-wide or bound to one user, and print it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the key is for; shown in the admin")
        parser.add_argument("--user", metavar="ID", help="bind the key to this user")
        parser.add_argument(
            "--may-erase", action="store_true", help="allow the key to erase and export users"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user_id = options["user"]
        if user_id == "":
            raise CommandError(
                "--user is empty. Leave it out for a service-wide key.", returncode=2
            )
        api_key = ApiKey(
            name=options["name"], user_id=user_id or "", may_erase=options["may_erase"]
        )
        key = ApiKey.objects.assign_key(api_key)
        try:
            api_key.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages), returncode=2) from None
        api_key.save()
        self.stdout.write(key)
        note(self, "Keep the key now: only its hash is stored.")
