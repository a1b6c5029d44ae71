"""`manage.py serve`: prepare everything that the server needs, then start it."""

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from chat import first_start
from chat.metrics.files import new_server_folder
from storage.backups.selection import sql_backups
from storage.startup import readiness
from storage.startup.schema import migrated_under_lock


class Command(BaseCommand):
    """Applies migrations, in development makes a login and sample data once, and serves."""

    help = "Start the server on HOST:PORT (see the settings in the README)."

    def handle(self, *args: Any, **options: Any) -> None:
        with migrated_under_lock():
            login = first_start.login() if settings.DEVELOPMENT else None
            self._count_together()
            sql_backups().keep_restores_out()
        if problem := readiness.startup_problem():
            raise CommandError(problem)
        everywhere = settings.HOST in ("0.0.0.0", "::")  # noqa: S104  (compared, not bound)
        url = f"http://{'localhost' if everywhere else settings.HOST}:{settings.PORT}"
        self.stdout.write(f"\n  Admin      {url}/admin/\n  API docs   {url}/api/docs/\n")
        if login is not None:
            self.stdout.write(
                f"  Login      {login.username} / {login.password}\n"
                f"  API key    {login.api_key}\n\n  Ctrl-C stops the server.\n"
            )
        self.stdout.flush()
        server = str(Path(sys.executable).parent / "granian")
        arguments = [
            *("--interface", "wsgi", "--host", settings.HOST, "--port", str(settings.PORT)),
            *("--workers", str(settings.WORKERS), "--blocking-threads", str(settings.THREADS)),
            *("--http", "1", "--no-ws", "--log-level", "warning", "--workers-kill-timeout", "10"),
            "config.server:application",
        ]
        try:
            os.execv(server, [server, *arguments])  # noqa: S606  (a fixed program, no shell)
        except OSError as error:
            raise CommandError(f"granian cannot be started ({error}); run make setup.") from error

    def _count_together(self) -> None:
        """Make the server's processes count in files, so that each one can report all counts.

        This process has started to count in memory, and continues to.
        """
        try:
            folder = new_server_folder()
        except OSError as error:
            self.stderr.write(f"Each process will report its own metrics only: {error}")
        else:
            os.putenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
