"""What `manage.py serve` tells the C library of its memory."""

import signal
from pathlib import Path

from tests.chat.processes import Server
from tests.servers import wait_for


def test_workers_share_few_heaps_unless_they_are_told_otherwise(tmp_path):
    """Each heap of glibc keeps what it once needed, and with 16 that looks like a leak.

    That it is 2 otherwise is seen in `test_serve.py`, in a server that it executes anyway.
    """
    server = Server(tmp_path, executed=True, MALLOC_ARENA_MAX="4")
    process = Path(f"/proc/{server.process_id}")
    try:
        wait_for(lambda: b"config.main_process" in (process / "cmdline").read_bytes(), "granian")
        values = (process / "environ").read_bytes().split(b"\0")
    finally:
        server.end(signal.SIGKILL)
    assert b"MALLOC_ARENA_MAX=4" in values
