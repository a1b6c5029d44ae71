"""Stops in the first second, by slow clients, and for want of memory."""

import json
import socket
import threading
import time
from contextlib import suppress

import pytest

from tests.chat.calls import BATCH, INTERACTIONS, new
from tests.image.containers import DEMO, Container


@pytest.mark.parametrize("tenths", [1, 3, 5, 7, 9, 12, 15])
def test_sigterm_while_it_starts_is_not_lost(volume, tenths):
    with Container("-v", volume, **DEMO) as container:
        time.sleep(tenths / 10)
        assert container.stop() in (0, 143)


@pytest.mark.parametrize("rate", [0, 1000], ids=["stalled", "slow"])
def test_a_client_that_sends_slowly_does_not_keep_it_from_stopping(volume, rate):
    with Container("-v", volume, **DEMO) as container:
        key = container.wait_until_ready().key
        with socket.create_connection(("127.0.0.1", container.port)) as client:
            client.sendall(
                f"POST {INTERACTIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
                f"Authorization: Api-Key {key}\r\nContent-Type: application/json\r\n\r\n".encode()
            )
            ended = threading.Event()

            def send():
                with suppress(OSError):
                    while not ended.wait(0.1):
                        client.sendall(b" " * (rate // 10))

            sender = threading.Thread(target=send)
            sender.start()
            time.sleep(1)
            try:
                assert container.stop() == 0
            finally:
                ended.set()
                sender.join()


def batch(number, characters):
    """The body of a batch of about 15 MB, of Latin letters or of emoji."""
    text = characters * (15_000 // len(characters.encode()))
    items = [new(interaction_id=f"{number}-{item}", message=text) for item in range(1000)]
    return json.dumps({"interactions": items}, ensure_ascii=False).encode()


@pytest.mark.parametrize("characters", ["a", "\N{GRINNING FACE}"], ids=["letters", "emoji"])
def test_large_batches_at_once_do_not_take_more_memory_than_it_has(volume, characters):
    bodies = [batch(number, characters) for number in range(4)]
    statuses = []
    with Container("-v", volume, **DEMO) as container:
        key = container.wait_until_ready().key

        def send(body):
            """Until it was taken; a refusal comes before the body, and breaks the pipe."""
            for _ in range(100):
                with suppress(OSError):
                    status = container.request("POST", BATCH, body, key)[0]
                    if status != 503:
                        statuses.append(status)
                        return
                time.sleep(0.5)

        clients = [threading.Thread(target=send, args=(body,)) for body in bodies]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert statuses == [200] * 4
        assert "Unexpected exit" not in container.output, "the kernel has killed the worker"
