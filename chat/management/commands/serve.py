"""`manage.py serve`: everything that a start needs, then the server."""

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from chat import first_start
from chat.metrics import files as metrics_files
from storage.backups import backups
from storage.startup import readiness
from storage.startup.schema import migrated_under_lock


class Command(BaseCommand):
    """Applies migrations; in development makes a login and sample data once; serves."""

    help = "Start the server on HOST:PORT (see the settings in the README)."

    def handle(self, *args: Any, **options: Any) -> None:
        development = settings.ENVIRONMENT == "development"
        with migrated_under_lock():
            login = first_start.login() if development else None
            self._count_together()
            backups.keep_restores_out()
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
        """Have the server's processes count in files, so that each can tell what all have counted.

        This process itself has begun to count in its memory, and goes on.
        """
        try:
            folder = metrics_files.new_server_folder()
        except OSError as error:
            self.stderr.write(f"Metrics will be of one process at a time: {error}")
        else:
            os.putenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
