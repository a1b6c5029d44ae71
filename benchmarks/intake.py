"""What does a span cost that comes in by OTLP, beside MLflow and Phoenix?

    python benchmarks/intake.py [--bodies 4] [--rounds 5] [--data FILE.jsonl.gz] [--json FILE]

Each body has 512 chat spans, as opentelemetry-instrumentation-genai-openai 1.3b0 makes them with
SPAN_ONLY: protobuf, gzip. All servers have one worker and a new SQLite file; they take turns. A
server's CPU counts until it is idle again, since some answer before they have stored anything. At
the end each database must have every span.
"""

import argparse
import gzip
import http.client
import json
import os
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from harness.contestants import BASELINES, CHAT_STORE, Contestant
from harness.data import Text, load_texts, make_texts
from harness.processes import Server, free_port, process_cpu_seconds, process_tree
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS = 512
"""In a body: the most that the SDK's batch processor sends at once by default."""

START_SECONDS = 180
IDLE_SECONDS = 1.0
"""A server that has used no CPU for so long has stored what it was sent."""

IDLE_CPU = 0.02
"""CPU seconds within IDLE_SECONDS that a server uses for itself."""


@dataclass
class Peer:
    """A server that takes OTLP at `path`. `count` counts the spans in its database."""

    contestant: Contestant
    environment: Callable[[Path, int], dict[str, str]]
    database: str
    count: str
    path: str = "/v1/traces"
    headers: dict[str, str] = field(default_factory=dict)
    costs: list[float] = field(default_factory=list)
    """CPU seconds of each round."""
    memory: int = 0
    """The most bytes that its processes had in memory, together, after a round."""


def bodies(number: int, texts: list[Text]) -> Iterator[bytes]:
    """So many bodies; no two have a span in common."""
    texts_of_spans = iter(texts * (1 + number * SPANS // len(texts)))
    for _ in range(number):
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add()
        _set(spans.resource, {"service.name": "benchmark", "telemetry.sdk.language": "python"})
        scope = spans.scope_spans.add()
        scope.scope.name = "opentelemetry.instrumentation.genai.openai"
        now = time.time_ns()
        for index in range(SPANS):
            text = next(texts_of_spans)
            span = scope.spans.add()
            span.trace_id, span.span_id = secrets.token_bytes(16), secrets.token_bytes(8)
            span.name, span.kind = "chat model-1", 3
            span.start_time_unix_nano = now - 2 * 10**9 + index
            span.end_time_unix_nano = now - 10**9 + index
            _set(span, _attributes(text.message, text.response, f"user-{index % 40:03}"))
        yield gzip.compress(request.SerializeToString(), 6)


def _attributes(message: str, response: str, user: str) -> dict[str, str | int]:
    asked = [{"role": "user", "parts": [{"type": "text", "content": message}]}]
    answered = [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": response}],
            "finish_reason": "stop",
        }
    ]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "model-1",
        "gen_ai.response.model": "model-1-2026-01-01",
        "gen_ai.response.id": f"chatcmpl-{secrets.token_hex(12)}",
        "gen_ai.usage.input_tokens": len(message) // 4,
        "gen_ai.usage.output_tokens": len(response) // 4,
        "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps(answered),
        "user.id": user,
    }


def _set(target: object, values: dict[str, str | int]) -> None:
    for key, value in values.items():
        attribute = target.attributes.add()  # type: ignore[attr-defined]  # a message of protobuf
        attribute.key = key
        if isinstance(value, int):
            attribute.value.int_value = value
        else:
            attribute.value.string_value = value


# The servers.


def _mlflow(contestant: Contestant, port: int, _workers: int) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [contestant.tool("mlflow"), "server", *address]


def _phoenix(contestant: Contestant, _port: int, _workers: int) -> list[str]:
    return [contestant.tool("phoenix"), "serve"]


def _no_key(_contestant: Contestant, _database: Path) -> str:
    return ""


def peers() -> list[Peer]:
    """This project first."""
    mlflow = Contestant("mlflow", "MLflow", BASELINES / "mlflow", "spans", "", _no_key, _mlflow)
    phoenix = Contestant(
        "phoenix", "Phoenix", BASELINES / "phoenix", "spans", "", _no_key, _phoenix
    )
    return [
        Peer(
            CHAT_STORE,
            lambda folder, port: CHAT_STORE.environment(folder / "db.sqlite3", port),
            "db.sqlite3",
            "SELECT count(*) FROM storage_chatinteraction WHERE interaction_id GLOB 'otel-*'",
            path="/api/otlp/v1/traces",
        ),
        Peer(
            mlflow,
            lambda folder, port: {
                "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/db.sqlite3",
                "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(folder / "artifacts"),
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            "db.sqlite3",
            "SELECT count(*) FROM spans",
            headers={"x-mlflow-experiment-id": "0"},
        ),
        Peer(
            phoenix,
            lambda folder, port: {
                "PHOENIX_WORKING_DIR": str(folder),
                "PHOENIX_HOST": "127.0.0.1",
                "PHOENIX_PORT": str(port),
                "PHOENIX_GRPC_PORT": str(free_port()),
                "PHOENIX_TELEMETRY_ENABLED": "false",
            },
            "phoenix.db",
            "SELECT count(*) FROM spans",
        ),
    ]


# The run.


class Running:
    """A server on a new database."""

    def __init__(self, peer: Peer, folder: Path, stack: ExitStack) -> None:
        self.peer = peer
        folder.mkdir()
        self._database = folder / peer.database
        self._port = free_port()
        if key := peer.contestant.create_key(peer.contestant, self._database):
            peer.headers["Authorization"] = key
        kept = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self._server = Server(
            peer.contestant.serve(peer.contestant, self._port, 1),
            folder=peer.contestant.folder,
            environment=kept | peer.environment(folder, self._port),
            log=folder / "log",
        )
        stack.enter_context(self._server)

    def start(self, body: bytes) -> None:
        """Wait until it takes this body, and has stored it."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.send(body)
                break
            except OSError as error:
                if time.monotonic() > deadline or self._server.process.poll() is not None:
                    error.add_note(self._server.log_tail())
                    raise
                time.sleep(0.5)
        self.wait_until_idle()

    def send(self, body: bytes) -> None:
        """Raises RuntimeError unless it is taken."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        with closing(connection):
            headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
            connection.request("POST", self.peer.path, body, headers | self.peer.headers)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{self.peer.contestant.title}: {answer.status} {text!r}")

    def cpu(self) -> float:
        """The CPU seconds of its processes so far."""
        return sum(map(process_cpu_seconds, process_tree(self._server.process.pid)))

    def wait_until_idle(self) -> None:
        """Until it has stored what it was sent."""
        before = self.cpu()
        while True:
            time.sleep(IDLE_SECONDS)
            now = self.cpu()
            if now - before < IDLE_CPU:
                return
            before = now

    def measure(self, sent: list[bytes]) -> None:
        """Send these bodies, one after the other."""
        before = self.cpu()
        for body in sent:
            self.send(body)
        self.wait_until_idle()
        self.peer.costs.append((self.cpu() - before) / (len(sent) * SPANS))
        memory = sum(map(_memory, process_tree(self._server.process.pid)))
        self.peer.memory = max(self.peer.memory, memory)

    def stored(self) -> int:
        """The spans in its database."""
        with closing(sqlite3.connect(self._database)) as database:
            return int(database.execute(self.peer.count).fetchone()[0])


def _memory(process: int) -> int:
    """The most bytes that a process has had in memory."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def run(found: list[Peer], rounds: int, number: int, texts: list[Text]) -> None:
    """Measure all of them, in turns. Raises RuntimeError if one has lost a span."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        running = [Running(peer, Path(name, peer.contestant.slug), stack) for peer in found]
        (first,) = bodies(1, texts)
        for each in running:
            each.start(first)
        for _ in range(rounds):
            sent = list(bodies(number, texts))
            for each in running:
                each.measure(sent)
        expected = SPANS * (1 + rounds * number)
        for each in running:
            if (stored := each.stored()) != expected:
                title = each.peer.contestant.title
                raise RuntimeError(f"{title} has {stored} spans of {expected}.")


def table(found: list[Peer]) -> str:
    """CPU of each and its ratio to this project's, the median of the rounds' ratios."""
    ours = found[0]
    lines = [
        "| | server CPU per span, µs | spans a second of CPU | / this project | memory, MB |",
        "|---|---:|---:|---:|---:|",
    ]
    for peer in found:
        cost = statistics.median(peer.costs)
        ratios = [theirs / own for theirs, own in zip(peer.costs, ours.costs, strict=True)]
        lines.append(
            f"| {peer.contestant.title} | {cost * 1e6:,.0f} "
            f"({min(peer.costs) * 1e6:,.0f}..{max(peer.costs) * 1e6:,.0f}) | {1 / cost:,.0f} "
            f"| {statistics.median(ratios):.1f} x | {peer.memory / 1e6:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bodies", type=int, default=4, help="in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="JSON lines with message and response")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    texts = load_texts(options.data) if options.data else make_texts()
    found = peers()
    for peer in found:
        peer.contestant.install()
    run(found, options.rounds, options.bodies, texts)
    print(table(found))
    if options.json:
        figures = {each.contestant.slug: each.costs for each in found}
        options.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
