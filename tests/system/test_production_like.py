"""`make run-production-like`: one command serves all that production has, and ends all of it."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.chat.calls import INTERACTIONS, new, one
from tests.chat.processes import ROOT, Server, free_port
from tests.servers import listens, wait_for

pytestmark = pytest.mark.exhaustive


def in_a_second_terminal(words, folder):
    """What a command prints that finds the servers by the file that they were named in."""
    file = folder / "data" / "environment"
    assert file.stat().st_mode & 0o077 == 0
    names = ("PATH", "HOME")
    finished = subprocess.run(
        ["/bin/sh", "-c", f". {file}; {sys.executable} {words}"],
        cwd=ROOT,
        env={name: os.environ[name] for name in names if name in os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout + finished.stderr


def test_one_command_serves_everything_and_ctrl_c_ends_it(tmp_path):
    port = free_port()
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.production_like", str(tmp_path / "data")],
            cwd=ROOT,
            env=os.environ | {"PORT": str(port)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: process.poll() is not None or listens(port), "the server")
        text = output.read_text()
        assert process.poll() is None, text
        key = re.search(r"API key +(\S+)", text)[1]
        server = Server.__new__(Server)
        server.port = port
        headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
        wait_for(lambda: server.request("GET", "/readyz")[0] == 200, "readiness")
        body = json.dumps(new(interaction_id="first"))
        assert server.request("POST", INTERACTIONS, body, headers)[0] == 201
        assert server.request("GET", one("first"), None, headers)[0] == 200
        assert "Keep the key" not in text
        assert "1 exported" in in_a_second_terminal("manage.py export_interactions -", tmp_path)
        others = {int(found) for found in re.findall(r"=\S*127\.0\.0\.1:(\d+)", text)}
        assert len(others) == 4
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
        assert not any(listens(other) for other in {port, *others})
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
