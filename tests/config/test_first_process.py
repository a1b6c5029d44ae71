"""SIGTERM ends the first process of a container, which Linux protects from it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chat.processes import ROOT, environment, manage
from tests.servers import wait_for

IN_A_CONTAINER = ["unshare", "--map-root-user", "--pid", "--fork"]
"""The program after these words is the first process of a namespace of its own."""

ENDED = 128 + signal.SIGTERM


def can_unshare():
    words = [*IN_A_CONTAINER, "true"]
    return shutil.which("unshare") and subprocess.run(words, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="needs namespaces of users (Linux)")


def test_while_it_prepares_the_data(tmp_path):
    lock = tmp_path / "data.sqlite3.migrate.lock"
    process = subprocess.Popen(
        [*IN_A_CONTAINER, *manage("serve")], cwd=ROOT, env=environment(tmp_path)
    )
    wait_for(lambda: lock.exists() or process.poll() is not None, "the lock for migrating")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    os.kill(int(children), signal.SIGTERM)
    assert process.wait(60) == ENDED


def test_while_it_becomes_the_server():
    """One that arrives during `exec` waits until it is handled."""
    program = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM});"
        "os.kill(os.getpid(), signal.SIGTERM);"
        "os.execv(sys.executable, [sys.executable, '-m', 'config.main_process', '--help'])"
    )
    ended = subprocess.run([*IN_A_CONTAINER, sys.executable, "-c", program], cwd=ROOT)
    assert ended.returncode == ENDED


def test_the_server_blocks_it_for_that_moment(monkeypatch, settings):
    from chat.management.commands import serve

    blocked = []

    def execv(path, words):
        assert words[1:3] == ["-m", "config.main_process"]
        blocked.extend(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    command = serve.Command()
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(serve.listening, "hold", lambda host, port: None)
    monkeypatch.setattr(command, "_prepared", lambda: None)
    monkeypatch.setattr(serve.readiness, "startup_problem", lambda: None)
    try:
        command.handle()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    assert signal.SIGTERM in blocked
