"""A model server and a real store, for the packages that are really installed here."""

import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from model_server import ModelServer

from chat_interaction_store import Store

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 120


@pytest.fixture(scope="session")
def running_store():
    """`manage.py serve`; gives its URL and an API key. STORE_PYTHON has its packages."""
    python = os.environ.get("STORE_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        settings = {"DATA_DIR": folder, "PORT": str(port), "ENVIRONMENT": "development"}
        with output.open("wb") as file:
            process = subprocess.Popen(
                [python, "manage.py", "serve"],
                cwd=ROOT,
                env={**os.environ, **settings, "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: process.poll() is not None or answers(url))
            yield url, re.search(r"API key +(\S+)", output.read_text())[1]
        finally:
            process.terminate()
            process.wait()


def answers(url):
    try:
        return urllib.request.urlopen(f"{url}/healthz").status == 200
    except OSError:
        return False


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="session")
def model():
    return ModelServer()


@pytest.fixture(autouse=True)
def _no_bodies(model):
    model.bodies.clear()


@pytest.fixture
def store(running_store):
    with Store(*running_store) as store:
        yield store


@pytest.fixture
def user():
    return f"user-{uuid.uuid4().hex}"


@pytest.fixture
def kept(store, user):
    """Gives what the store has of the user: message, answer, model and tokens, the oldest first."""

    def read():
        assert store.background().flush(PATIENCE)
        return [
            (one.message, one.response, one.model_used, one.input_tokens, one.output_tokens)
            for one in reversed(list(store.list(user)))
        ]

    return read
