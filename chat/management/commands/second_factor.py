"""`manage.py second_factor ACCOUNT [--remove]`: the login then asks the account for a code."""

from argparse import ArgumentParser
from base64 import b32encode
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from chat.admin import second_factor
from chat.management.notes import note


class Command(BaseCommand):
    """Prints the secret of the new second factor, and its address for apps that take one."""

    help = "Give an account of the admin a second factor, or take it away."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", help="the user name")
        parser.add_argument("--remove", action="store_true", help="let the password suffice")

    def handle(self, *args: Any, **options: Any) -> None:
        account = options["account"]
        user = User.objects.filter(username=account).first()
        if user is None:
            raise CommandError(f"There is no account {account}.")
        if options["remove"]:
            if not second_factor.remove(user):
                raise CommandError(f"{account} has no second factor.")
            note(self, f"{account} logs in with the password alone.")
            return
        made = second_factor.add(user)
        self.stdout.write(b32encode(made.bin_key).decode())
        self.stdout.write(made.config_url)
        note(
            self, f"Give this to {account} now: an authenticator app takes the first line as a key."
        )
