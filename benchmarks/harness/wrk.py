"""Load by wrk, a client in C, which is faster than the servers."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

SCRIPT = Path(__file__).with_name("load.lua")
LONGEST_SECONDS = 300
"""A server that has not answered all by then has failed."""

TIMEOUT_SECONDS = 60


class Load(NamedTuple):
    """A method, and a path into which a line of a file is put; with POST, it is the body."""

    method: str
    before: str
    after: str
    lines: Path


class Outcome(NamedTuple):
    """All requests of one load, which are answered; latencies in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float


class LoadError(Exception):
    """A request was refused, or not answered."""


def require() -> None:
    """Raises SystemExit if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit(
            "wrk is needed, to send requests faster than a server answers. Install it: "
            "`apt-get install wrk` or `brew install wrk`."
        )


def send(
    load: Load,
    port: int,
    authorization: str,
    *,
    connections: int,
    first: int = 0,
    seconds: float = LONGEST_SECONDS,
    requests: int = -1,
) -> Outcome:
    """Keep a request on every connection for so long, or until so many are sent.

    Lines are used in turn from number `first`. Raises LoadError unless all are answered well.
    """
    values = (load.method, load.before, load.after, authorization, load.lines)
    program = ["wrk", "--threads", "1", "--connections", connections, "--latency"]
    program += ["--duration", f"{LONGEST_SECONDS}s", "--timeout", f"{TIMEOUT_SECONDS}s"]
    program += ["--script", SCRIPT, f"http://127.0.0.1:{port}/", "--"]
    done = subprocess.run(
        [str(word) for word in (*program, *values, first, seconds, connections, requests)],
        capture_output=True,
        text=True,
        timeout=2 * LONGEST_SECONDS,
        check=False,
    )
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise LoadError(f"wrk: {done.stdout[-1000:]} {done.stderr[-1000:]}") from None
    unanswered = found["sent"] - found["answered"]
    if found["refused"] or found["broken"] or unanswered or not found["answered"]:
        raise LoadError(f"{load.method} {load.before}: {found}")
    return Outcome(found["answered"], found["seconds"], found["p50"] / 1e6, found["p99"] / 1e6)
