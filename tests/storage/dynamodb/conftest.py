"""Servers of tests, and an environment without this machine's settings of AWS."""

import os

import pytest
from botocore.loaders import create_loader
from botocore.session import get_session

from storage.dynamodb import transport
from tests.storage.dynamodb.answering import Server

LOADER = create_loader()


def session():
    """botocore's session. What all of them read of botocore's own files is read once."""
    made = get_session()
    made.register_component("data_loader", LOADER)
    return made


@pytest.fixture
def account(monkeypatch, tmp_path):
    """Credentials, and nothing else of this machine's environment. Returns the file for more."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    configuration = tmp_path / "aws-config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(transport, "get_session", session)
    return configuration


@pytest.fixture
def serve():
    """Starts servers."""
    started = []

    def start(context=None):
        started.append(Server(context))
        return started[-1]

    yield start
    for server in started:
        server.stop()
