"""What a soak says of open descriptors."""

import os
import socket
import tempfile
from collections import Counter

from tests.system.soak.descriptors import kinds
from tests.system.soak.steady import of_each_kind


def test_each_is_named_by_what_it_is():
    before = kinds(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = listener.accept()
        pair, pipe = socket.socketpair(), os.pipe()
        event = os.eventfd(0)
        with tempfile.TemporaryFile(), client, served, pair[0], pair[1]:
            opened = kinds(os.getpid()) - before
        for descriptor in (*pipe, event):
            os.close(descriptor)
    assert opened == {
        "socket that listens": 1,
        f"socket to port {port}": 1,
        "socket of a client": 1,
        "other socket": 2,
        "other pipe": 2,
        "eventfd": 1,
        "file": 1,
    }


def test_that_which_grows_is_seen_beside_what_does_not():
    samples = [Counter(file=7, eventfd=number // 30) for number in range(120)]
    assert of_each_kind(samples) == {"eventfd": (1, 3), "file": (7, 7)}
