"""A store of a given size, made once and copied, with its commands, server and clients."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.contestants import CHAT_STORE
from harness.cost import Cost, io_of, run
from harness.processes import Server, free_port, process_tree
from harness.traffic import Traffic, Waits
from tests.system.growth.filling import Content

DATABASE = "chat.sqlite3"
TIMEOUT_SECONDS = 120
MADE = "made.json"
AGE = timedelta(hours=20)
"""A store that was made longer ago has more due than a night's work."""

CLIENTS = 4


@dataclass(frozen=True)
class Figure:
    """One operation: its cost beyond a bare start, the waits of others, and what else was seen."""

    cost: Cost
    writers: Waits | None = None
    readers: Waits | None = None
    seen: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        return (self.seen or {})[name]

    @property
    def longest(self) -> float:
        """The longest wait of anybody."""
        return max((waits.longest for waits in (self.writers, self.readers) if waits), default=0.0)

    @property
    def failed(self) -> int:
        """Requests of others that were refused or lost."""
        both = (waits for waits in (self.writers, self.readers) if waits)
        return sum(sum(waits.failed.values()) for waits in both)


Figures = dict[str, Figure]
"""By the title of the line."""


class Grown:
    """A store in a folder that may be changed, and will be deleted."""

    def __init__(self, folder: Path, content: Content) -> None:
        self.folder = folder
        self.content = content
        self.start = Cost()
        """What a command costs that does nothing."""
        self._server: Server | None = None
        self._port = 0
        self._key = ""

    @property
    def database_bytes(self) -> int:
        """The size of the database file."""
        return (self.folder / DATABASE).stat().st_size

    @property
    def environment(self) -> dict[str, str]:
        """That of all its processes."""
        common = CHAT_STORE.environment(self.folder / DATABASE, self._port or 8000)
        common.pop("PYTHONDONTWRITEBYTECODE")
        return common | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPYCACHEPREFIX": str(self.folder.parent / "bytecode"),
            "RATE_LIMIT_PER_KEY": "0",
            "LOG_LEVEL": "ERROR",
        }

    def manage(self, *words: str, limit: float | None = None) -> Figure:
        """Run a command to its end."""
        return self._run([sys.executable, "manage.py", *words], limit)

    def program(self, *words: str, limit: float | None = None) -> Figure:
        """Run one of `harness.programs`; raises RuntimeError if it fails."""
        program = str(Path(__file__).parent / "programs.py")
        figure = self._run([sys.executable, program, *words], limit)
        if figure.cost.status:
            raise RuntimeError(f"{words[0]}: {figure.cost.error}")
        return figure

    def process(self, words: list[str], limit: float | None = None) -> Cost:
        """Run any process to its end."""
        return run(words, folder=self.folder, environment=self.environment, limit=limit)

    def _run(self, words: list[str], limit: float | None) -> Figure:
        return Figure(self.process(words, limit).beyond(self.start))

    def beside(self, *words: str, limit: float | None = None, writers: int = CLIENTS) -> Figure:
        """Run a command while clients go on: four readers, and writers if not told otherwise."""
        with self.traffic(writers) as traffic:
            figure = self.manage(*words, limit=limit)
        return replace(figure, writers=traffic.writers, readers=traffic.readers)

    def traffic(self, writers: int = CLIENTS) -> Traffic:
        """Clients of the server, which runs."""
        numbers = range(0, self.content.rows, max(self.content.rows // 97, 1))
        ids = [
            self.content.identifier(number)
            for number in numbers
            if self.content.end - self.content.time(number) < timedelta(days=80)
            and not self.content.user_of(number).startswith("rare")
        ]
        users = [f"user-{number:04}" for number in range(100, 110)]
        return Traffic(self._port, self._key, ids, users, writers=writers, readers=CLIENTS)

    @contextmanager
    def served(self) -> Iterator[Server]:
        """A server for the clients, within this block."""
        self._port = free_port()
        if not self._key:
            made = self._run(
                [sys.executable, "manage.py", "create_api_key", "x", "--may-erase"], None
            )
            if made.cost.status:
                raise RuntimeError(made.cost.error)
            self._key = (self.folder / "output").read_text().split()[-1]
        with self.server(self._port) as server:
            yield server

    @contextmanager
    def server(self, port: int) -> Iterator[Server]:
        """A server that answers, within this block."""
        server = Server(
            [sys.executable, "manage.py", "serve"],
            folder=CHAT_STORE.folder,
            environment=self.environment | {"PORT": str(port)},
            log=self.folder / f"server-{port}.log",
        )
        with server:
            server.wait(lambda: _ready(port))
            server.fix_tree()
            yield server

    def get(self, port: int, path: str) -> Any:
        """The answer of a server; raises RuntimeError if it is no success."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", path, headers={"Authorization": f"Api-Key {self._key}"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"GET {path}: {response.status} {body[:500]!r}")
        return json.loads(body)


def _ready(port: int) -> None:
    """Raises OSError if the server is not ready."""
    import urllib.request

    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10).close()


@contextmanager
def asked(server: Server) -> Iterator[list[Cost]]:
    """Measures what a server does in this block, in which nobody else asks it."""
    found: list[Cost] = []
    tree = process_tree(server.process.pid)

    def counts() -> tuple[float, int, int]:
        pairs = [io_of(process) for process in tree]
        return server.cpu_seconds(), sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)

    before, started = counts(), time.monotonic()
    yield found
    after = counts()
    cpu, read, written = (late - early for late, early in zip(after, before, strict=True))
    found.append(Cost(time.monotonic() - started, cpu, int(read), int(written)))


def make(folder: Path, rows: int) -> Content:
    """Make a store of so many rows in a folder, unless there is a young one."""
    made = folder / MADE
    if made.exists():
        content = _content(made)
        if datetime.now(UTC) - content.end < AGE:
            return content
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"Making a store of {rows:,} rows ...", file=sys.stderr, flush=True)
    started = time.monotonic()
    environment = Grown(folder, Content(rows, datetime.now(UTC))).environment
    subprocess.run(
        [sys.executable, "-m", "tests.system.growth.filling", str(rows)],
        cwd=CHAT_STORE.folder,
        env=environment,
        check=True,
        stdout=(folder / "output").open("wb"),
    )
    subprocess.run(
        [sys.executable, "manage.py", "rebuild_search"],
        cwd=CHAT_STORE.folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    (folder / "output").rename(made)
    print(f"... {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return _content(made)


def copied(made: Path, folder: Path) -> Grown:
    """A copy of a store that was made."""
    shutil.copytree(made, folder)
    return Grown(folder, _content(folder / MADE))


def _content(made: Path) -> Content:
    said = json.loads(made.read_text())
    return Content(int(said["rows"]), datetime.fromisoformat(said["end"]))
