"""`manage.py erase_user USER_ID` and `erase_user --pending`: a person is removed everywhere."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance.erasure import erasing
from chat.maintenance.erasure.erasing import Erased
from chat.maintenance.runs import Run
from chat.management.base import MaintenanceCommand, policy_of
from storage import limits
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Says that a user is erased only if every layer has confirmed it."""

    help = "Erase a user from the database, the archive, the cache and everything else."

    def add_options(self, parser: ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("user_id", nargs="?", type=user, help="the user")
        who.add_argument(
            "--pending", action="store_true", help="all users of whom it was asked and not done yet"
        )

    def new_report(self) -> Erased:
        return Erased()

    def work(self, storage: Storage, run: Run, report: Erased, options: dict[str, Any]) -> None:
        user_id = options["user_id"]
        if run.dry_run:
            users = erasing.pending(storage) if user_id is None else [user_id]
            for each in users:
                report.counts += erasing.count(storage, each)
            report.remaining = len(users)
        elif user_id is None:
            if problems := erasing.erase_pending(storage, policy_of(run), run, report):
                raise CommandError("; ".join(problems))
        else:
            report.remaining = 1
            erasing.erase(storage, user_id, policy_of(run), run, report)
            report.remaining = 0


def user(text: str) -> str:
    """The id of a user."""
    if problem := limits.identifier_violation(text):
        raise ArgumentTypeError(f"the user id {problem}")
    return text
