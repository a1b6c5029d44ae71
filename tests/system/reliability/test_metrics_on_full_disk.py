"""Counting on a full disk: a server maps its counts into memory, where no space is a SIGBUS."""

from collections import Counter
from contextlib import closing

import pytest

from tests.chat.calls import INTERACTIONS, new, one
from tests.servers import wait_for
from tests.system.reliability.disks import SmallDisk
from tests.system.reliability.servers import Client

KIB = 1024
NOTICE = "Each process will report its own metrics only"


@pytest.fixture
def disk(tmp_path):
    """A small disk."""
    try:
        small = SmallDisk(tmp_path, 8 * 1024 * KIB)
    except OSError as error:
        pytest.skip(f"A small disk needs user and mount namespaces: {error}")
    with closing(small):
        yield small


def reads(server):
    headers = {"Authorization": f"Api-Key {server.key}"}
    status, _, body = server.request("GET", "/metrics", headers=headers)
    assert status == 200
    return sum(
        float(line.rpartition(" ")[2])
        for line in body.decode().splitlines()
        if line.startswith('chat_cache_reads_total{kind="interaction"')
    )


def both_have_their_space(disk):
    """Whether two workers have made the files in which they count."""
    files = (disk.path / "metrics").glob("*/*.db")
    numbers = Counter(file.stem.rpartition("_")[2] for file in files)
    return len(numbers) == 2 and len(set(numbers.values())) == 1


def test_a_server_counts_on_when_the_disk_is_full(disk, start):
    server = start(disk=disk, WORKERS="2")
    wait_for(lambda: both_have_their_space(disk), "the start of both workers")
    with closing(Client(server)) as client:
        path = one(client.call("POST", INTERACTIONS, new()).value["interaction_id"])
        disk.fill()
        assert client.call("GET", path).status == 200
    wait_for(lambda: reads(server) >= 1, "the settling of what was counted")
    assert server.is_running()
    assert NOTICE not in server.output


@pytest.mark.parametrize("space", [0, 400])
def test_on_a_disk_that_is_nearly_full_a_server_starts_and_reads(disk, start, space):
    first = start(disk=disk)
    with closing(Client(first)) as client:
        path = one(client.call("POST", INTERACTIONS, new()).value["interaction_id"])
    assert first.interrupt() == 0
    disk.fill(leave=space * KIB)
    second = start(disk=disk, WORKERS="2")
    with closing(Client(second)) as client:
        assert client.call("GET", path).status == 200
    reads(second)
    assert second.is_running()
    assert NOTICE in second.output
    assert disk.free >= space * KIB - 64 * KIB
