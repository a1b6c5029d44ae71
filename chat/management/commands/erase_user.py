"""`manage.py erase_user USER_ID` and `erase_user --pending`: erase users from every layer."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance.erasure import erasing
from chat.maintenance.erasure.erasing import Erased
from chat.maintenance.runs import Run
from chat.management import arguments
from chat.management.base import MaintenanceCommand, policy_of
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Reports a user as erased only if every layer has confirmed it."""

    report_class = Erased
    help = "Erase a user from the database, the archive, the cache and everything else."

    def add_options(self, parser: ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("user_id", nargs="?", type=arguments.user, help="the id of the user")
        who.add_argument(
            "--pending", action="store_true", help="continue all erasures that are not finished"
        )

    def work(self, storage: Storage, run: Run, report: Erased, options: dict[str, Any]) -> None:
        user_id = options["user_id"]
        if run.dry_run:
            users = erasing.pending(storage) if user_id is None else [user_id]
            for user in users:
                report.counts += erasing.count(storage, user)
            report.remaining = len(users)
        elif user_id is None:
            if problems := erasing.Job(storage, policy_of(run), run, report).erase_pending():
                raise CommandError("; ".join(problems))
        else:
            report.remaining = 1
            erasing.Job(storage, policy_of(run), run, report).erase(user_id)
            report.remaining = 0
