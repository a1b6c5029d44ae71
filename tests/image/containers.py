"""Containers of the image, as the guide tells operators to run them."""

import contextlib
import http.client
import itertools
import json
import os
import re
import shlex
import subprocess
import time
from typing import Any

from tests.chat.processes import free_port

SECONDS = 120
"""A start takes two; a machine that runs much else at once may need more."""

GUARDED = [
    *("--network", "host", "--read-only", "--cap-drop", "all"),
    *("--security-opt", "no-new-privileges", "--memory", "256m", "--memory-swap", "256m"),
    "--no-healthcheck",  # Podman needs systemd for it; the tests call it themselves
]
DEMO = {"ENVIRONMENT": "development"}
STAGING = {"ENVIRONMENT": "staging", "SECRET_KEY": "k" * 40}

_numbers = itertools.count()


def docker(*words: Any, check: bool = True) -> Any:
    """Run a command of Docker or Podman; gives its status and output."""
    program = shlex.split(os.environ["DOCKER"])
    finished = subprocess.run([*program, *map(str, words)], capture_output=True, text=True)
    assert not check or finished.returncode == 0, finished.stderr
    return finished


class Container:
    """One that was started, and is removed at the end of a `with`."""

    def __init__(self, *options: Any, command: Any = (), **environment: Any) -> None:
        self.port = free_port()
        self.name = f"chat-image-test-{os.getpid()}-{next(_numbers)}"
        values = {"PORT": str(self.port), **environment}
        settings = [word for name, value in values.items() for word in ("-e", f"{name}={value}")]
        given = shlex.split(os.environ.get("RUN_OPTIONS", ""))
        run = ["run", "--detach", "--name", self.name, *GUARDED, *given, *settings, *options]
        docker(*run, os.environ["IMAGE"], *command)

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *error: Any) -> None:
        docker("rm", "--force", "--volumes", self.name)

    @property
    def output(self) -> Any:
        """What it has printed so far."""
        finished = docker("logs", self.name)
        return finished.stdout + finished.stderr

    @property
    def key(self) -> Any:
        """The API key that it has printed."""
        return re.search(r"API key +(\S+)", self.output)[1]

    def state(self, field: str) -> Any:
        return docker("inspect", "--format", "{{.State." + field + "}}", self.name).stdout.strip()

    def wait(self) -> int:
        """Wait until it ends by itself; gives its exit status."""
        return int(docker("wait", self.name).stdout)

    def stop(self) -> int:
        """Stop it as Docker does, by SIGTERM and ten seconds; gives its exit status."""
        docker("stop", "-t", "10", self.name)
        return int(self.state("ExitCode"))

    def run(self, *words: Any) -> Any:
        """Run a command in it, as the guide does."""
        return docker("exec", self.name, *words, check=False)

    def wait_until_ready(self) -> "Container":
        """Raises AssertionError, with what it has printed, if it never is."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.state("Status") == "running":
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/readyz")[0] == 200:
                    return self
            time.sleep(0.2)
        raise AssertionError(f"It did not start:\n{self.output}")

    def request(self, method: str, path: str, value: Any = None, key: str = "") -> tuple[int, Any]:
        """A request on a connection of its own; gives the status and the body."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Api-Key {key}"
        body = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        with contextlib.closing(client):
            client.request(method, path, body, headers)
            answer = client.getresponse()
            return answer.status, answer.read()
