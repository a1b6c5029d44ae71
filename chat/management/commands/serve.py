"""`manage.py serve`: prepare everything that the server needs, then start it."""

import errno
import os
import resource
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from chat import first_start
from chat.management import listening
from chat.metrics.files import new_server_folder
from storage.backups.selection import backed_up_elsewhere, sql_backups
from storage.startup import data_folder, readiness
from storage.startup.schema import migrated_under_lock

MOST_FILES = 8192
"""Open files of a server process, if the system allows so many. Nearly all are connections."""

KILL_SECONDS = 8
"""When workers are killed that have not ended. Docker kills a container after ten."""

ARENAS = "2"
"""Heaps that glibc shares out among threads, if it is not told otherwise. It would make up to eight
for each core, and each keeps what it once needed: with 16, `benchmarks/memory.py` grows by its
unused pieces alone."""

OTHER_FILES = 512
"""Of these, what is kept for the database and for connections to other servers."""


class Command(BaseCommand):
    """Applies migrations, in development makes a login and sample data once, and serves."""

    help = "Start the server on HOST:PORT (see the settings in the README)."

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Look at DATA_DIR first: the system checks would blame what is to be in it."""
        try:
            settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
            if not os.access(settings.DATA_DIR, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), settings.DATA_DIR)
        except OSError as error:
            raise CommandError(data_folder.advice(settings.DATA_DIR, error)) from error
        return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            listening.hold(settings.HOST, settings.PORT)
            login = self._prepared()
        except listening.CannotListen as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(data_folder.advice(settings.DATA_DIR, error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}.") from error
        if problem := readiness.startup_problem():
            raise CommandError(problem)
        self._print_how_to_get_in(login)
        os.environ.setdefault("MALLOC_ARENA_MAX", ARENAS)
        server = [sys.executable, "-m", "config.main_process", *_arguments()]
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until it is handled there
        os.execv(sys.executable, server)  # noqa: S606  (a fixed program, no shell)

    def _prepared(self) -> first_start.Login | None:
        with migrated_under_lock():
            login = first_start.login() if settings.DEVELOPMENT else None
            if login is None:
                self._revoke_login()
            self._count_together()
            if not backed_up_elsewhere():
                sql_backups().keep_restores_out()
        return login

    def _revoke_login(self) -> None:
        """What development printed, and maybe logged, opens nothing elsewhere."""
        if first_start.revoke_login():
            self.stderr.write(
                "The API key and the login that development had printed for this data are revoked. "
                "Make others: manage.py create_api_key NAME, manage.py createsuperuser."
            )

    def _print_how_to_get_in(self, login: first_start.Login | None) -> None:
        host = f"[{settings.HOST}]" if ":" in settings.HOST else settings.HOST
        everywhere = settings.HOST in ("0.0.0.0", "::")  # noqa: S104  (compared, not bound)
        url = f"http://{'localhost' if everywhere else host}:{settings.PORT}"
        self.stdout.write(f"\n  Admin      {url}/admin/\n  API docs   {url}/api/docs/\n")
        if login is not None:
            self.stdout.write(
                f"  Login      {login.username} / {login.password}\n"
                f"  API key    {login.api_key}\n\n  Ctrl-C stops the server.\n"
            )
        self.stdout.flush()

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


def _arguments() -> list[str]:
    """The arguments of granian."""
    return [
        *("--interface", "wsgi", "--host", settings.HOST, "--port", str(settings.PORT)),
        *("--http", "1", "--no-ws", "--workers", str(settings.WORKERS)),
        *("--respawn-failed-workers", "--workers-kill-timeout", str(KILL_SECONDS)),
        *("--blocking-threads", str(settings.SERVER_THREADS)),
        *("--backpressure", str(_connections())),
        *("--http1-header-read-timeout", str(settings.CLIENT_TIMEOUT * 1000)),
        *("--log-level", "error"),  # at `warning`, it warns of the number of threads
        *("--log-config", str(settings.GRANIAN_LOGGING)),
        "config.server:application",
    ]


def _connections() -> int:
    """Raise the limit of open files if need be. Returns how many connections a worker accepts."""
    files, most = (
        MOST_FILES if limit == resource.RLIM_INFINITY else limit
        for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    if files < MOST_FILES:
        files = min(most, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return max(min(files, MOST_FILES) - OTHER_FILES, files // 2)
