"""Servers that end with the test that has started them."""

import pytest

from tests.system.reliability.servers import Server


@pytest.fixture
def start(tmp_path):
    """Starts servers on the data in this test's folder; they answer when it returns."""
    started = []

    def begin(**options):
        started.append(Server(tmp_path, **options))
        return started[-1].wait_until_it_answers()

    yield begin
    for server in started:
        server.stop()
