"""A PostgreSQL that tests may end, restart and suspend."""

import pytest

from tests.postgresql import PostgreSQL


@pytest.fixture(scope="session")
def another_server():
    """Each test leaves it as it was: it answers."""
    server = PostgreSQL()
    yield server
    server.stop()
