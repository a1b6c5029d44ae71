"""What `manage.py serve` tells the C library of its memory."""

from pathlib import Path

import pytest

from tests.chat.processes import Server


@pytest.mark.parametrize(("told", "used"), [({}, b"2"), ({"MALLOC_ARENA_MAX": "4"}, b"4")])
def test_workers_share_few_heaps_unless_they_are_told_otherwise(tmp_path, told, used):
    """Each heap of glibc keeps what it once needed, and with 16 that looks like a leak."""
    server = Server(tmp_path, executed=True, **told).wait_until_it_answers()
    try:
        values = Path(f"/proc/{server.process_id}/environ").read_bytes().split(b"\0")
    finally:
        server.stop()
    assert b"MALLOC_ARENA_MAX=" + used in values
