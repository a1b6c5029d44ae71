"""The servers, stores and commands of a soak, and what befalls them."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests import servers
from tests.chat.processes import ROOT, environment, free_port, manage
from tests.system.soak.known import GONE, Known, Row

REGION = "eu-central-1"
START_SECONDS = 300
AWAY_SECONDS = (0.5, 6.0)
"""How long a store does not answer."""

COMMAND_STATUSES = {0: "done", 1: "failed", 3: "stopped", 130: "interrupted", -9: "killed"}
EXCUSES = re.compile(
    "There is no backup|at work|did not answer|unavailable|in use|no space|lock|Unable|"
    "cannot be reached|not respond|Try again|did not confirm|Another export|too slow",
    re.IGNORECASE,
)
"""What a command may say when it fails although nothing is wrong with it: somebody else was at
work, or a store was away."""


class World:
    """Servers on one backend, with their stores, in one folder."""

    users = 12

    def __init__(self, backend: str, folder: Path, known: Known, *, kills: bool = True) -> None:
        """With `kills`, commands and servers are killed on their way, so a 5xx is no fault."""
        self.folder, self._known, self.kills = folder, known, kills
        self.ports = [free_port()] if backend == "sqlite" else [free_port(), free_port()]
        self._servers: dict[int, subprocess.Popen[bytes]] = {}
        self._outputs = 0
        self._values: dict[str, str] = {"WORKERS": "2", "RETENTION_TOTAL_DAYS": "90"}
        self.dynamodb = self.redis = None
        self.key = ""
        if backend == "cloud":
            self.dynamodb = servers.DynamoDB()
            self.redis = servers.start_valkey()
            self._values |= {
                "WORKERS": "1",
                "ENVIRONMENT": "production",
                "SECRET_KEY": "a key of these tests alone, as long as keys should be",
                "ALLOWED_HOSTS": "127.0.0.1",
                "HTTPS": "false",
                "AWS_REGION": REGION,
                "DYNAMODB_ENDPOINT_URL": self.dynamodb.url,
                "DYNAMODB_TABLE": "soak",
                "REDIS_URL": f"redis://127.0.0.1:{self.redis.port}/0",
            }
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.setdefault(name, "test")

    def start(self) -> None:
        if self.dynamodb is not None and self.redis is not None:
            print(f"DynamoDB is on port {self.dynamodb.port}, Redis on {self.redis.port}")
            self._must("dynamodb_table", "create")
        for port in self.ports:
            self._serve(port)
        for port in self.ports:
            self._wait(port)
        made = self._must("create_api_key", "soak")
        self.key = made.split()[-1]

    def stop(self) -> None:
        for port in self.ports:
            self._end(port, signal.SIGTERM)
        if self.redis is not None:
            self.redis.terminate()
        if self.dynamodb is not None:
            self.dynamodb.stop()

    @property
    def process_ids(self) -> list[int]:
        """The first processes of the servers."""
        return [server.pid for server in self._servers.values()]

    @property
    def database(self) -> Path:
        """The file of the SQL database."""
        return self.folder / "data.sqlite3"

    def lines_of(self, request_id: str) -> str:
        """What the servers' logs say of a request."""
        return "".join(
            line
            for path in sorted(self.folder.glob("server-*.txt"))
            for line in path.open(errors="replace")
            if request_id in line
        )

    # What befalls it. Each returns what was done.

    def kill_server(self, choose: random.Random) -> str:
        """kill -9 of a server with its workers; another one starts at once."""
        return self._restart(choose.choice(self.ports), signal.SIGKILL)

    def stop_server(self, choose: random.Random) -> str:
        """SIGTERM, as a deployment does; another one starts at once."""
        return self._restart(choose.choice(self.ports), signal.SIGTERM)

    def kill_worker(self, choose: random.Random) -> str:
        """kill -9 of one worker."""
        server = self._servers[choose.choice(self.ports)]
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(choose.choice(children)), signal.SIGKILL)
        return "kill -9 of a worker"

    def hang_dynamodb(self, choose: random.Random) -> str:
        assert self.dynamodb is not None
        self.dynamodb.process.send_signal(signal.SIGSTOP)
        time.sleep(choose.uniform(*AWAY_SECONDS))
        self.dynamodb.process.send_signal(signal.SIGCONT)
        return "DynamoDB hung"

    def hang_redis(self, choose: random.Random) -> str:
        assert self.redis is not None
        self.redis._process.send_signal(signal.SIGSTOP)
        time.sleep(choose.uniform(*AWAY_SECONDS))
        self.redis._process.send_signal(signal.SIGCONT)
        return "Redis hung"

    def kill_redis(self, choose: random.Random) -> str:
        assert self.redis is not None
        self.redis.terminate()
        time.sleep(choose.uniform(*AWAY_SECONDS))
        self.redis.start(servers.START_SECONDS)
        return "Redis killed and started"

    def deploy_while_redis_hangs(self, choose: random.Random) -> str:
        """A server is replaced while Redis does not answer, and Redis keeps what it has."""
        assert self.redis is not None
        self.redis._process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(choose.uniform(*AWAY_SECONDS))
            sent = choose.choice((signal.SIGTERM, signal.SIGKILL))
            self._end(port := choose.choice(self.ports), sent)
        finally:
            self.redis._process.send_signal(signal.SIGCONT)
        self._serve(port)
        self._wait(port)
        return f"Redis hung while a server was ended by {sent.name}"

    def faults(self) -> list[Any]:
        of_all = [self.kill_server, self.stop_server, self.kill_worker]
        if self.redis is None:
            return of_all
        cloud = [self.hang_dynamodb, self.hang_redis, self.kill_redis]
        return [*of_all, *cloud, self.deploy_while_redis_hangs]

    def _restart(self, port: int, sent: signal.Signals) -> str:
        self._end(port, sent)
        self._serve(port)
        self._wait(port)
        return f"{sent.name} to a server"

    def _serve(self, port: int) -> None:
        self._outputs += 1
        with (self.folder / f"server-{self._outputs}.txt").open("wb") as output:
            self._servers[port] = subprocess.Popen(
                manage("serve"),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(self.folder, PORT=str(port), **self._values),
                cwd=ROOT,
                start_new_session=True,
            )

    def _wait(self, port: int) -> None:
        server = self._servers[port]
        servers.wait_for(lambda: server.poll() is not None or servers.listens(port), "a start")
        if server.poll() is not None:
            self._known.fault("start", f"a server ended with {server.returncode}")

    def _end(self, port: int, sent: signal.Signals) -> None:
        server = self._servers[port]
        if sent == signal.SIGKILL:
            os.killpg(server.pid, sent)
        else:
            server.send_signal(sent)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            self._known.fault("stop", f"a server did not end 60 s after {sent.name}")
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # nobody may be left

    # Commands

    def _must(self, *words: str) -> str:
        done = subprocess.run(
            manage(*words),
            env=environment(self.folder, **self._values),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def command(self, words: list[str], choose: random.Random, stdin: bytes = b"") -> int:
        """Run a command, sometimes to a kill -9 or SIGTERM on its way; gives its exit status."""
        number = self._known.counts.get("commands", 0)
        self._known.count("commands")
        process = subprocess.Popen(
            manage(*words),
            env=environment(self.folder, **self._values),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if self.kills and choose.random() < 0.25:
            sent = choose.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            threading.Timer(choose.uniform(0.5, 5.0), process.send_signal, (sent,)).start()
        _, errors = process.communicate(stdin)
        said = errors.decode()
        name = f"{words[0]} ({number})"
        status = COMMAND_STATUSES.get(process.returncode, str(process.returncode))
        self._known.count(f"{words[0]} {status}")
        # Before a command begins, while Python starts, Ctrl-C is Python's own.
        if "Traceback" in said and not said.rstrip().endswith("KeyboardInterrupt"):
            self._known.fault("traceback", f"{name}: {said[-1500:]}")
        elif process.returncode == 1 and not EXCUSES.search(said):
            self._known.fault("command", f"{name}: {said[-500:]}")
        return process.returncode

    def everyday(self, choose: random.Random) -> None:
        """One of the commands that cron or an operator runs, chosen at random."""
        self.command(choose.choice(self._usual_commands()), choose)

    def every_command(self, choose: random.Random) -> None:
        """All that cron and operators run while servers run, once each."""
        self.bring_old_ones(choose)
        self.erase_somebody(choose)
        words = [*self._usual_commands(), ["verify_archive"], ["verify_audit"]]
        words += [["usage"], ["restore", "latest", "--practice"]]
        for each in words:
            self.command(each, choose)

    def _usual_commands(self) -> list[list[str]]:
        return [
            ["archive_interactions", "--max-seconds", "20"],
            ["purge_interactions", "--max-seconds", "20"],
            ["erase_user", "--pending", "--max-seconds", "20"],
            ["storage_status"],
            ["backup"],
            ["verify_backup"],
            ["export_interactions", str(self.folder / "all.jsonl.zst"), *self._exported()],
            ["export_user", "user-1", "--output", str(self.folder / f"out-{time.time_ns()}")],
            *([] if self.redis is None else [["cache_audit", "--sample", "50"]]),
        ]

    def _exported(self) -> list[str]:
        """Options of an export: of all, and in a steady soak of the last minutes.

        After an hour without this, exports kept the emulator of DynamoDB busy all the time.
        """
        if self.kills:
            return []
        return ["--created-after", (datetime.now(UTC) - timedelta(minutes=5)).isoformat()]

    def bring_old_ones(self, choose: random.Random) -> None:
        """Import interactions that are due to be archived."""
        rows = []
        for number in range(40):
            row = Row(f"user-{choose.randrange(self.users)}", f"Old {number} of {uuid4()}?")
            if self._known.begin(row, f"imported {row.interaction_id}"):
                rows.append(row)
        lines = b"".join(_line(row, choose) for row in rows)
        status = self.command(["import_interactions", "-"], choose, lines)
        for row in rows:
            content = f"imported {row.interaction_id}"
            self._known.end(row, content if status == 0 else None)

    def erase_somebody(self, choose: random.Random) -> None:
        """Erase a user for whom nobody writes any more, and make room for another."""
        user = f"victim-{choose.randrange(10**9)}"
        rows = [Row(user, f"Victim {number}?") for number in range(5)]
        rows = [row for row in rows if self._known.begin(row, "of a victim")]
        lines = b"".join(_line(row, choose, "of a victim") for row in rows)
        status = self.command(["import_interactions", "-"], choose, lines)
        for row in rows:
            self._known.end(row, "of a victim" if status == 0 else None)
        if status == 0 and self._known.close(user):
            for row in rows:
                row.possible = ("of a victim", GONE)
                row.changes += 1
            self._finish_erasure(user, choose)

    def _finish_erasure(self, user: str, choose: random.Random) -> None:
        if self.command(["erase_user", user], choose) == 0:
            self._known.erased(user)
            self._known.count("erased users")

    def tracebacks(self) -> list[str]:
        """Servers' outputs with a traceback in them."""
        return [
            f"{path.name}: {path.read_text()[-2000:]}"
            for path in sorted(self.folder.glob("server-*.txt"))
            if "Traceback" in path.read_text(errors="replace")
        ]


def _line(row: Row, choose: random.Random, response: str | None = None) -> bytes:
    created = datetime.now(UTC) - timedelta(days=choose.uniform(28, 60))
    return (
        json.dumps(
            {
                "interaction_id": row.interaction_id,
                "user_id": row.user_id,
                "message": row.message,
                "response": response or f"imported {row.interaction_id}",
                "model_used": "model-1",
                "created_at": created.isoformat(),
            }
        ).encode()
        + b"\n"
    )
