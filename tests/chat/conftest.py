"""What the tests of the API and the commands share."""

import io

import pytest
from django.db import connection

from tests.chat.processes import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real server with two workers."""
    started = Server(tmp_path_factory.mktemp("server"), WORKERS="2")
    try:
        yield started.wait_until_it_answers()
    finally:
        started.stop()


@pytest.fixture
def folder(transactional_db, tmp_path):
    """A folder with an empty, migrated database, for commands that run as processes."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(tmp_path / "data.sqlite3")])
    return tmp_path


@pytest.fixture
def standard_input(monkeypatch):
    """Gives a command these bytes to read."""

    def give(content):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give
