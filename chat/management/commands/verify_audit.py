"""`manage.py verify_audit`: whether the audit log is as it was written."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from storage.accounts import audit_chain
from storage.exceptions import StorageError


class Command(BaseCommand):
    """Exit status 1 and one line at the first break. It takes no lock, and staff can work on."""

    help = (
        "Verify the chain of the audit log, and print its newest digest. Keep that elsewhere: with "
        "--since-digest it proves later that nothing before it was cut off or replaced."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since-digest",
            type=_digest,
            metavar="DIGEST",
            help="the entry with this digest must be there; verify only what came after it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = audit_chain.verify(options["since_digest"] or "")
        except StorageError as error:
            raise CommandError(" ".join(str(error).split())) from error
        if not found.digest:
            self.stdout.write("The audit log is empty.")
            return
        begin = f" from {found.oldest:%Y-%m-%d %H:%M:%S}" if found.oldest else ""
        self.stdout.write(
            f"{found.entries} entries verified{begin} to {found.newest:%Y-%m-%d %H:%M:%S} UTC."
        )
        self.stdout.write(f"The newest digest is {found.digest}")


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ArgumentTypeError("must be 64 hexadecimal digits, as verify_audit prints them")
    return text
