"""What `manage.py serve` tells the C library of its memory."""

import signal
from pathlib import Path

import pytest

from tests.chat.processes import Server
from tests.servers import wait_for


@pytest.mark.parametrize(("told", "used"), [({}, b"2"), ({"MALLOC_ARENA_MAX": "4"}, b"4")])
def test_workers_share_few_heaps_unless_they_are_told_otherwise(tmp_path, told, used):
    """Each heap of glibc keeps what it once needed, and with 16 that looks like a leak."""
    server = Server(tmp_path, executed=True, **told)
    process = Path(f"/proc/{server.process_id}")
    try:
        wait_for(lambda: b"config.main_process" in (process / "cmdline").read_bytes(), "granian")
        values = (process / "environ").read_bytes().split(b"\0")
    finally:
        server.end(signal.SIGKILL)
    assert b"MALLOC_ARENA_MAX=" + used in values
