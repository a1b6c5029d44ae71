"""Limits of the real server: exact between its processes, by the address that a proxy adds."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.rate_limits.windows import WINDOW_SECONDS
from tests.chat.calls import INTERACTIONS
from tests.chat.processes import Server, run

QUOTA = 40


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    values = {"RATE_LIMIT_PER_KEY": str(QUOTA), "RATE_LIMIT_PER_ADDRESS": "2", "NUM_PROXIES": "1"}
    started = Server(tmp_path_factory.mktemp("server"), WORKERS="2", THREADS="16", **values)
    try:
        yield started.wait_until_it_answers()
    finally:
        started.stop()


def within_a_window(act):
    """What `act` returns if no window has ended meanwhile; otherwise it is done again."""
    while True:
        window = time.monotonic() // WINDOW_SECONDS
        found = act()
        if time.monotonic() // WINDOW_SECONDS == window:
            return found


def test_both_processes_with_all_threads_allow_as_many_as_the_quota(limited):
    def calls():
        made = run(limited.folder, "create_api_key", "another")
        key = f"Api-Key {made.stdout.decode().strip()}"

        def call(number):
            """From an address of its own: until a process knows the key, the address counts."""
            headers = {"Authorization": key, "X-Forwarded-For": f"198.51.100.{number}"}
            return limited.request("GET", INTERACTIONS, None, headers)[0]

        with ThreadPoolExecutor(16) as threads:
            return sorted(threads.map(call, range(3 * QUOTA)))

    assert within_a_window(calls) == [200] * QUOTA + [429] * 2 * QUOTA


def test_a_client_cannot_take_another_address(limited):
    own = f"2001:db8:{secrets.token_hex(2)}::1"

    def forged(number):
        """Through a proxy that adds a line of its own after those of the client."""
        lines = (
            f"GET {INTERACTIONS} HTTP/1.1",
            "Host: localhost",
            "Authorization: Api-Key wrong.wrong",
            f"X-Forwarded-For: 198.51.100.{number}",
            f"X-Forwarded-For: 203.0.113.{number}, {own}",
            "Connection: close",
        )
        with limited.connect() as client, client.makefile("rb") as answer:
            client.sendall("\r\n".join((*lines, "", "")).encode())
            return int(answer.readline().split()[1])

    found = [forged(number) for number in range(4)]
    assert found[:2] == [401, 401]
    assert 429 in found[2:]
