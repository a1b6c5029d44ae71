"""The real commands and the real server, as processes of their own."""

import contextlib
import functools
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config.environment import VARIABLES
from storage.archive import durable
from tests.chat import fork_server
from tests.chat.fork_server import MANAGE

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "data.sqlite3"
START_SECONDS = 300
"""A start takes two; a machine that runs much else at once may need more."""

COMMAND_SECONDS = 300


def environment(folder: Path | str, **values: Any) -> dict[str, Any]:
    """Every setting at its default but for the data and its days, whatever `.env` says."""
    defaults = {variable.name: variable.default for variable in VARIABLES}
    data = {
        "DATA_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder}/{DATABASE}",
        "PORT": str(free_port()),  # whatever else runs on this machine
        "RETENTION_TOTAL_DAYS": "1000000",  # fixed dates in tests do not expire
    }
    return {**os.environ, **defaults, **data, **values, "PYTHONUNBUFFERED": "1"}


def manage(*arguments: Any) -> list[Any]:
    """The words of a management command."""
    return [sys.executable, MANAGE, *map(str, arguments)]


def start(folder: Path | str, *arguments: Any, **streams: Any) -> fork_server.Popen:
    """Start a management command."""
    return fork_server.Popen([MANAGE, *arguments], environment(folder), **streams)


def run(folder: Path | str, *arguments: Any, stdin: bytes = b"", **values: Any) -> Any:
    """Run a management command to its end; gives its exit status and output as bytes."""
    return fork_server.run([MANAGE, *arguments], environment(folder, **values), stdin)


def free_port() -> Any:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@functools.cache
def _migrated() -> bytes:
    """A database file to which a command has applied all migrations."""
    with tempfile.TemporaryDirectory() as folder:
        done = run(folder, "migrate")
        assert done.returncode == 0, done.stderr
        with closing(sqlite3.connect(Path(folder, DATABASE))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(folder, DATABASE).read_bytes()


def give_tables(folder: Path) -> None:
    """Make an empty database in the folder. To apply migrations costs more than a start."""
    with contextlib.suppress(FileExistsError), durable.create(folder / DATABASE) as file:
        file.write(_migrated())


class Server:
    """`manage.py serve` with its data in `folder`, on a port of its own.

    By an `exec` of its own, if asked for; then it also makes its tables, if nobody has, and all its
    settings are the real ones. `disk` is a `SmallDisk` that has its data.
    """

    def __init__(
        self, folder: Path | str, disk: Any = None, *, executed: bool = False, **values: Any
    ) -> None:
        self.folder = Path(folder)
        self.port = free_port()
        self.started = datetime.now(UTC)
        self._output = self.folder / f"output-{self.port}.txt"
        if not executed:
            values = {"DJANGO_SETTINGS_MODULE": "tests.chat.quick_settings"} | values
        found = environment(disk.mount_point if disk else folder, PORT=str(self.port), **values)
        if not (disk or executed or {"DATABASE_URL", "ENVIRONMENT"} & set(values)):
            give_tables(self.folder)
        with self._output.open("ab") as file:
            output: dict[str, Any] = {"stdout": file, "stderr": subprocess.STDOUT}
            self._process: Any
            if not executed:
                self._process = fork_server.Popen(
                    [MANAGE, "serve"],
                    found,
                    serves=True,
                    beside=disk.process_id if disk else None,
                    **output,
                )
            else:
                self._process = subprocess.Popen(
                    manage("serve"),
                    env=found,
                    cwd=ROOT,
                    start_new_session=True,  # a process group, which Ctrl-C reaches as a whole
                    umask=0o022,  # as most shells have it
                    **output,
                )

    @property
    def output(self) -> Any:
        """What it has printed so far."""
        return self._output.read_text()

    @property
    def process_id(self) -> Any:
        """The number of its first process."""
        return self._process.pid

    @property
    def key(self) -> Any:
        """The API key that it has printed."""
        return re.search(r"API key +(\S+)", self.output)[1]

    @property
    def login(self) -> Any:
        """The name and the password that it has printed."""
        return re.search(r"Login +(\S+) / (\S+)", self.output).groups()

    def wait_until_it_answers(self) -> Any:
        """Raises AssertionError, with what it has printed, if it never does."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                status, _, _ = self.request("GET", "/healthz")
            except OSError:
                time.sleep(0.01)
            else:
                assert status == 200
                return self
        raise AssertionError(f"The server did not start:\n{self.output}")

    def is_running(self) -> bool:
        return self._process.poll() is None

    def interrupt(self) -> Any:
        """Ctrl-C: the whole group gets it. Gives the exit status, once it has ended."""
        self._signal_all(signal.SIGINT)
        return self._process.wait(COMMAND_SECONDS)

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends it, to all its processes, and wait."""
        self._signal_all(number)
        self._process.wait(COMMAND_SECONDS)

    def _signal_all(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """End it, whatever it takes."""
        self._process.terminate()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self.end(signal.SIGKILL)

    def connect(self) -> Any:
        """A raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=COMMAND_SECONDS)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Any = (),
        seconds: float = COMMAND_SECONDS,
    ) -> tuple[Any, ...]:
        """One request on a connection of its own; gives status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def call(self, method: str, path: str, value: Any = None, **headers: Any) -> tuple[Any, ...]:
        """A request to the API with the printed key; gives the status and the decoded body."""
        headers = {"Authorization": f"Api-Key {self.key}", **headers}
        body = None
        if value is not None:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            headers["Content-Type"] = "application/json"
        status, _, answer = self.request(method, path, body, headers)
        return status, json.loads(answer) if answer else None
