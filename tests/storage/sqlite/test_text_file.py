"""The file of the search index."""

import os
import sys
from pathlib import Path

import pytest

from storage.sqlite.text_file import IndexFile

ENTRIES = 15_000
ENTRY_BYTES = 2_000


def peak() -> float:
    """The most memory that this process has had since the last call, in MB."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_large_index_is_made_anew_in_little_memory(tmp_path):
    file = IndexFile(str(tmp_path / "chat.sqlite3"))
    with file.writing(1, anew=lambda state: False) as contents:
        entries = ((n, f"i{n}", "", os.urandom(ENTRY_BYTES)) for n in range(ENTRIES))
        contents.connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", entries)
    peak()
    before = peak()
    with file.writing(1, anew=lambda state: True) as contents:
        assert contents.connection.execute("SELECT * FROM entry").fetchall() == []
    file.close()

    assert peak() - before < ENTRIES * ENTRY_BYTES / 1e6 / 4
