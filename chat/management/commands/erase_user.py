"""`manage.py erase_user USER_ID` and `erase_user --pending`: erase users from every layer."""

import getpass
import os
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance.erasure import erasing, ledger
from chat.maintenance.erasure.erasing import Erased
from chat.maintenance.runs import Run
from chat.management import arguments
from chat.management.base import WRONG_USE, MaintenanceCommand, policy_of
from chat.management.notes import note
from storage import accounts
from storage.interface import Storage

NOTHING = (
    "Nothing of this user was found, now or by an earlier erasure. Is the id right, letter by "
    "letter?"
)
ON_RECORD = (
    " The erasure is on record all the same: a backup that has the user is restored without."
)

NOT_SCRUBBED = (
    "Nobody can read anything of this user any more. Bytes of it may be left in the files of the "
    "database until `erase_user --pending` has overwritten them, which cron runs every ten minutes "
    "(docs/how-to/retention.md)."
)


class Command(MaintenanceCommand):
    """Reports a user as erased only if every layer has confirmed it.

    The receipt has two times: since when nobody can read anything of the user (`removed_at`), and
    since when no byte is left in the files of the database (`scrubbed_at`). With a large database
    the second is still to come, and `--pending` brings it.

    Exit status 1 also if nothing was ever found of the user, so that a mistyped id is noticed.
    """

    report_class = Erased
    is_remembered = True
    help = "Erase a user from the database, the archive, the cache and everything else."

    def add_options(self, parser: ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("user_id", nargs="?", type=arguments.user, help="the id of the user")
        who.add_argument(
            "--pending", action="store_true", help="go on with all erasures that are not done"
        )
        parser.add_argument(
            "--requested-by",
            type=arguments.line,
            metavar="WHO",
            help="who asked for it, for the receipt, such as a case number; not the user's name or "
            "id. Default: the account that runs this",
        )

    def work(self, storage: Storage, run: Run, report: Erased, options: dict[str, Any]) -> None:
        user_id = options["user_id"]
        if user_id is not None:
            requested_by = _requested_by(options["requested_by"], user_id)
        elif options["requested_by"]:
            raise CommandError("--requested-by needs the id of a user.", returncode=WRONG_USE)
        if run.dry_run:
            users = erasing.pending(storage) if user_id is None else [user_id]
            report.counts += erasing.count(storage, users)
            report.remaining = len(users)
            if user_id is not None and not report.counts:
                self._tell_nothing_found(ledger.last_found(storage.archive, user_id), NOTHING)
        elif user_id is None:
            if problems := erasing.Job(storage, policy_of(run), run, report).erase_pending():
                raise CommandError("; ".join(problems))
        else:
            report.remaining = 1
            job = erasing.Job(storage, policy_of(run), run, report)
            erasure = job.erase(user_id, requested_by)
            if erasure.status == "removed":
                note(self, NOT_SCRUBBED)
            if not erasure.erased and erasure.attempts == 1:  # an earlier one may have been killed
                before = ledger.last_found(storage.archive, user_id)
                self._tell_nothing_found(before, NOTHING + ON_RECORD)

    def _tell_nothing_found(self, before: datetime | None, unknown: str) -> None:
        """Raises CommandError unless the user was erased `before`."""
        if before is None:
            raise CommandError(unknown)
        note(self, f"Nothing was found: the user was erased on {before.date()} before.")


def _requested_by(given: str | None, user_id: str) -> str:
    """Who asked. Raises CommandError if that names the user: a receipt does not say who it was."""
    if given is None:
        account = _account()
        return "command" if accounts.names(account, user_id) else f"command:{account}"
    if accounts.names(given, user_id):
        raise CommandError(
            "--requested-by has the id of the user, and a receipt must not. Name who handles the "
            "request, or its number.",
            returncode=WRONG_USE,
        )
    return given


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container: an id without a name
        return str(os.getuid())
