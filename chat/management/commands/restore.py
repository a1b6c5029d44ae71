"""`manage.py restore`: restore a backup of the SQL database, or a DynamoDB table as it was."""

import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from chat.maintenance import practice
from chat.maintenance.erasure.after_restore import bring_up_to_date
from chat.maintenance.identity import ArchiveMismatch, belongs_to, check_remembered, take_over
from chat.maintenance.runs import LOCK, Run
from chat.management import arguments
from chat.management.base import WRONG_USE, MaintenanceCommand, policy_of
from chat.management.notes import note
from storage.archive import pseudonyms
from storage.archive.archive import configured_archive
from storage.archive.ownership import LOCK as ARCHIVE
from storage.backups.base import (
    BeforeLive,
    NotRestored,
    RestoredDatabase,
    RestoreReport,
    VerificationReport,
)
from storage.backups.folder import LATEST
from storage.backups.selection import backed_up_elsewhere, sql_backups, table_backups
from storage.interface import Storage

POLL_SECONDS = 5.0

OF_A_RESTORE = ("yes", "migrate", "keep_old", "practice", "archive_lost", "to_table")
"""Options that --to-file does not go with."""

OF_A_BACKUP = ("yes", "migrate", "keep_old", "expired", "practice", "to_file")
"""Options that only go with the name of a backup."""

NOT_EMPTY = (
    "The archive that is there has interactions, and is not what is left of this database's. Name "
    "an empty one in ARCHIVE_DIR or ARCHIVE_BUCKET."
)

ONE_OF = "Name a backup, or a table: --to-table; or after a restore of PostgreSQL: --erase-again."


class Command(MaintenanceCommand):
    """Exit status 1: nothing was restored. 3: DynamoDB is not finished; run it again to go on."""

    report_class = RestoreReport
    help = (
        "Replace the SQL database by a backup. All servers and other commands must have ended. "
        "With --to-table, create a DynamoDB table with what DYNAMODB_TABLE had at some time."
    )
    locks = False  # the lock is in the database that is replaced, and nobody else has that open
    requires_system_checks = []  # it must work when they fail

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="the name of a backup, or latest")
        parser.add_argument(
            "--yes", action="store_true", help="confirm that the database is replaced"
        )
        parser.add_argument(
            "--migrate",
            action="store_true",
            help="apply migrations to a backup of an older version",
        )
        parser.add_argument(
            "--keep-old", action="store_true", help="keep the replaced database beside the new one"
        )
        parser.add_argument(
            "--expired", action="store_true", help="allow a backup that is past BACKUP_KEEP_DAYS"
        )
        parser.add_argument(
            "--practice",
            action="store_true",
            help="restore the backup in a folder of its own, read it, and delete it; nothing else "
            "is changed, and servers may run",
        )
        parser.add_argument(
            "--archive-lost",
            action="store_true",
            help="go on without the archive, if it is lost for good: drop what the database knows "
            "of it, and use the empty one that ARCHIVE_DIR or ARCHIVE_BUCKET names",
        )
        parser.add_argument(
            "--to-file",
            type=Path,
            metavar="FILE",
            help="write the backup to a new file for other programs, as it is, and nothing else",
        )
        parser.add_argument(
            "--erase-again",
            action="store_true",
            help="after PostgreSQL was restored by its own means: erase from it again whoever was "
            "erased since its backup. With --to-table: from a table that is there already, and let "
            "the archive belong to it, because the service goes over to it",
        )
        parser.add_argument("--to-table", metavar="TABLE", help="the table to create")
        parser.add_argument(
            "--at",
            type=_moment_or_latest,
            metavar="TIME",
            help="the time that the table is restored to, or latest; default: latest",
        )

    def work(
        self, storage: Storage, run: Run, report: RestoreReport, options: dict[str, Any]
    ) -> None:
        in_place = options["erase_again"] and not options["to_table"]
        chosen = (options["name"], options["to_table"], in_place or None)
        if sum(choice is not None for choice in chosen) != 1:
            raise CommandError(ONE_OF, returncode=WRONG_USE)
        if options["practice"] and (not options["name"] or options["keep_old"]):
            raise CommandError(
                "--practice changes nothing: it goes with the name of a backup, and not with "
                "--keep-old.",
                returncode=WRONG_USE,
            )
        if not options["name"]:
            _refuse_of_a_backup(options, in_place)
        if options["to_file"] and (set(OF_A_RESTORE) & {name for name in options if options[name]}):
            raise CommandError(
                "--to-file writes a backup as it is: it goes with the name of a backup alone.",
                returncode=WRONG_USE,
            )
        if options["at"] and (options["erase_again"] or not options["to_table"]):
            raise CommandError(
                "--at goes with --to-table alone. The name of a backup has its time.",
                returncode=WRONG_USE,
            )
        if in_place:
            self._erase_again(run, report)
        elif options["to_file"]:
            self._write_file(run, report, options)
        elif options["to_table"]:
            self._restore_table(run, report, options)
        elif options["practice"]:
            self._practise(run, report, options)
        else:
            self._restore(run, report, options)

    def _write_file(self, run: Run, report: RestoreReport, options: dict[str, Any]) -> None:
        if run.dry_run:
            sql_backups().verify(options["name"], VerificationReport(), run.step)
            return
        sql_backups().write_file(options["name"], options["to_file"], report)
        note(
            self,
            f"{report.file} has what {report.name} has, and so perhaps users who were erased "
            "since. No command deletes it.",
        )

    def _restore(self, run: Run, report: RestoreReport, options: dict[str, Any]) -> None:
        if not options["yes"] and not run.dry_run:
            raise CommandError(
                "This replaces the database, and loses what was written since the backup. "
                "Add --yes to confirm.",
                returncode=WRONG_USE,
            )
        arguments = _arguments(run, report, options)
        sql_backups().restore(**arguments, keep_old=options["keep_old"])
        self._say_what_is_missing(report, options["archive_lost"])

    def _practise(self, run: Run, report: RestoreReport, options: dict[str, Any]) -> None:
        started = time.monotonic()
        sql_backups().practise(**_arguments(run, report, options))
        self._say_what_is_missing(report, options["archive_lost"])
        if not run.dry_run:
            note(
                self,
                f"{report.name} can be restored: it took {time.monotonic() - started:.1f} seconds. "
                f"{report.rows} rows; {report.read} interactions were read back; {report.erased} "
                "rows of users were erased again.",
            )

    def _say_what_is_missing(self, report: RestoreReport, archive_lost: bool) -> None:
        made_with = report.needs.get("secret_key")
        if made_with and made_with not in pseudonyms.pseudonyms_by_key(""):
            note(
                self,
                f"The backup was made with a SECRET_KEY of fingerprint {made_with}, which is not "
                "this one. Sessions have ended, and erasures will read the whole archive. Put it "
                "into SECRET_KEY_FALLBACKS.",
            )
        if archive_lost:
            note(
                self,
                f"{report.not_in_archive} of {report.archived} archived interactions are lost with "
                "the archive, and so are legal holds and the ledger of erasures: whoever was "
                "erased since the backup was made is back. Erase them again: erase_user.",
            )
        elif report.not_in_archive:
            note(
                self,
                f"{report.not_in_archive} of {report.archived} archived interactions are not in "
                "the archive: deleted since the backup was made, or lost. verify_archive --stubs "
                "tells what the database of today lacks.",
            )
        if report.large_texts_lost:
            note(
                self,
                f"{report.large_texts_lost} interactions with large texts were left out: their "
                "texts were replaced or deleted since, and no backup has them.",
            )

    def _erase_again(self, run: Run, report: RestoreReport) -> None:
        if not backed_up_elsewhere():
            raise CommandError(
                "--erase-again is for a PostgreSQL, or with --to-table for a table that the "
                "service goes over to. A restore of a backup does it by itself.",
                returncode=WRONG_USE,
            )
        if not run.dry_run:
            restored = RestoredDatabase(None, "default", configured_archive())
            report.erased = bring_up_to_date(restored, policy_of(run))

    def _restore_table(self, run: Run, report: RestoreReport, options: dict[str, Any]) -> None:
        def wait() -> None:
            run.step()
            time.sleep(POLL_SECONDS)

        name, backups = options["to_table"], table_backups()
        before_live = _before_live(run, report, options)
        how: dict[str, Any] = {
            "wait": wait,
            "before_live": before_live,
            "in_use": belongs_to(configured_archive(), name),
            "dry_run": run.dry_run,
        }
        if options["erase_again"]:
            backups.bring_up_to_date(name, report, **how)
        else:
            backups.restore(name, options["at"], report, **how)
        if not run.dry_run:
            self._say_what_is_missing(report, options["archive_lost"])
            note(self, f"The table {report.name} is ready. {_next(options)}")


def _refuse_of_a_backup(options: dict[str, Any], in_place: bool) -> None:
    """Raise CommandError for options that would be ignored, since no backup is restored."""
    given = next((name for name in OF_A_BACKUP if options[name]), None)
    if given is not None:
        option = given.replace("_", "-")
        raise CommandError(
            f"--{option} is for a backup: it goes with the name of one.", returncode=WRONG_USE
        )
    if in_place and options["archive_lost"]:
        raise CommandError(
            "--archive-lost is for a database that knows the archive: it goes with the name of a "
            "backup, or with --to-table.",
            returncode=WRONG_USE,
        )


def _next(options: dict[str, Any]) -> str:
    name = options["to_table"]
    then = f"set DYNAMODB_TABLE={name}, empty Redis, and start them."
    if options["erase_again"]:
        return f"The archive belongs to it. If the servers have stopped, {then}"
    return (
        "Maintenance of it leaves the archive alone. For the service to go over to it: stop the "
        f"servers, run restore --to-table {name} --erase-again, {then}"
    )


def _arguments(run: Run, report: RestoreReport, options: dict[str, Any]) -> dict[str, Any]:
    """What restoring a backup and practising it have in common."""
    return {
        "wanted": options["name"],
        "now": run.now,
        "report": report,
        "before_live": _before_live(run, report, options),
        "check_locks": lambda locks: _check_archive(locks.get(ARCHIVE), options),
        "stale_lock": LOCK,
        "dry_run": run.dry_run,
        "migrate": options["migrate"],
        "expired": options["expired"],
    }


def _check_archive(remembered: str | None, options: dict[str, Any]) -> None:
    """Refuse, in a dry run, an archive that the restore itself would refuse."""
    archive = configured_archive()
    try:
        check_remembered(archive, remembered)
    except ArchiveMismatch as error:
        if not options["archive_lost"]:
            raise
        if archive.days():
            raise NotRestored(NOT_EMPTY) from error


def _before_live(run: Run, report: RestoreReport, options: dict[str, Any]) -> BeforeLive:
    lost, practises = options["archive_lost"], options["practice"]

    def prepare(restored: RestoredDatabase) -> int:
        policy, storage = policy_of(run), restored.storage
        if storage is not None and (lost or practises):
            practice.count_stubs(storage, policy, report)
        try:
            erased = bring_up_to_date(restored, policy, report, archive_lost=lost)
        except ArchiveMismatch as error:
            if not lost:
                raise
            raise NotRestored(NOT_EMPTY) from error
        if storage is not None and options["erase_again"]:
            take_over(storage)
        if storage is not None and practises:
            practice.read_back(storage, policy, report)
        return erased

    return prepare


def _moment_or_latest(text: str) -> datetime | None:
    if text == LATEST:
        return None
    try:
        return arguments.moment(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, or: {LATEST}") from None
