"""Management commands: on a database in the state that they need, and without tracebacks."""

import gc
import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.checks import Tags
from django.core.management import ManagementUtility, get_commands
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from storage.exceptions import StorageError
from storage.startup import data_folder, schema

WITHOUT_DATABASE = {
    *("check", "collectstatic", "compilemessages", "diffsettings", "findstatic", "makemessages"),
    *("makemigrations", "optimizemigration", "sendtestemail", "spectacular", "sqlmigrate"),
    *("squashmigrations", "startapp", "startproject", "test", "testserver"),
    *("dynamodb_table", "verify_backup"),
}
"""Commands that use no database, or one of their own."""

PREPARES_ITSELF = {"serve", "restore", "showmigrations"}
"""They migrate it, replace it, or tell its state as it is."""


OWN_CHECKS = [Tags.caches, Tags.compatibility, Tags.database, Tags.files]
"""The system checks before this application's own commands: those of the settings that these use.
The others import the URLs, the admin and the templates, which takes half of the start. They run
before `serve` and all commands of Django's.
"""

NOT_ENCODED = (
    "An argument is not in UTF-8, or the output's encoding lacks a character; then set "
    "PYTHONUTF8=1."
)


class Utility(ManagementUtility):
    """Runs commands as `manage.py` does, and brings the database up to date before."""

    def fetch_command(self, subcommand: str) -> BaseCommand:
        """Returns a command that does so when it is executed, not for its --help."""
        command = super().fetch_command(subcommand)
        is_own = get_commands().get(subcommand) in ("chat", "storage") and subcommand != "serve"
        if is_own and command.requires_system_checks:
            command.requires_system_checks = OWN_CHECKS
        command.execute = _prepared(command.execute, subcommand)  # type: ignore[method-assign]
        return command


def run() -> None:
    """Run the command that the arguments name."""
    Utility(sys.argv).execute()


def _prepared(execute: Callable[..., Any], name: str) -> Callable[..., Any]:
    def prepared(*args: Any, **options: Any) -> Any:
        gc.freeze()  # what is loaded is never garbage
        gc.enable()
        try:
            if name == "migrate":
                with schema.prepared_under_lock():  # Django's own would set up nothing
                    schema.announce_long_waits()
                    return execute(*args, **options)
            if name not in WITHOUT_DATABASE | PREPARES_ITSELF:
                schema.bring_up_to_date()
            return execute(*args, **options)
        except BrokenPipeError:
            raise
        except (DatabaseError, OSError, StorageError) as error:
            raise CommandError(_in_one_line(error)) from error
        except UnicodeEncodeError as error:
            raise CommandError(NOT_ENCODED) from error

    return prepared


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and data_folder.concerns(settings.DATA_DIR, error):
        return data_folder.advice(settings.DATA_DIR, error)
    said = " ".join(str(error).split()) or type(error).__name__
    return f"The database failed: {said}." if isinstance(error, DatabaseError) else said
