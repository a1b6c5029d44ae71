"""`manage.py erase_user USER_ID` and `erase_user --pending`: a person is removed everywhere."""

from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import dataclass, field
from typing import Any

from django.core.management.base import CommandError

from chat.management.maintenance import MaintenanceCommand, policy_of
from storage import limits
from storage.interface import Storage
from storage.lifecycle import erasing
from storage.lifecycle.erasing import Erased
from storage.lifecycle.runs import Run


@dataclass
class Report(Erased):
    """And what the API would show of it."""

    erasures: list[dict[str, Any]] = field(default_factory=list)


class Command(MaintenanceCommand):
    """Says that a user is erased only if every layer has confirmed it."""

    help = "Erase a user from the database, the archive, the cache and everything else."

    def add_options(self, parser: ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("user_id", nargs="?", type=user, help="the user")
        who.add_argument(
            "--pending", action="store_true", help="all users of whom it was asked and not done yet"
        )

    def new_report(self) -> Report:
        return Report()

    def work(self, storage: Storage, run: Run, report: Report, options: dict[str, Any]) -> None:
        if run.dry_run:
            users = [options["user_id"]] if options["user_id"] else erasing.pending(storage)
            for user_id in users:
                report.counts += erasing.count(storage, user_id)
            report.remaining = len(users)
        elif options["pending"]:
            if problems := erasing.erase_pending(storage, policy_of(run), run, report):
                raise CommandError("\n".join(problems))
        else:
            erasure = erasing.request(storage, options["user_id"])
            done = erasing.attempt(storage, erasure, policy_of(run), run, report)
            report.erasures.append(done.as_record())


def user(text: str) -> str:
    """The id of a user."""
    if problem := limits.identifier_violation(text):
        raise ArgumentTypeError(f"the user id {problem}")
    return text
