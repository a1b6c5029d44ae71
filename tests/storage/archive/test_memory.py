"""What the archive takes of memory does not grow with its rows."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chat.processes import ROOT, environment


def taken(folder, *rounds):
    """The most memory that writing, reading and rewriting so many rows took, in KiB.

    In one process, whose starts would cost as much as the rows.
    """
    result = subprocess.run(
        [sys.executable, "-m", "tests.storage.archive.programs.memory", *rounds],
        cwd=ROOT,
        env=environment(folder, DJANGO_SETTINGS_MODULE="config.settings"),
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return [int(line) for line in result.stdout.split()]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it so")
def test_the_memory_of_segments_is_bounded(tmp_path):
    """2,000 rows are 16 MB in eight segments."""
    few, many = taken(tmp_path, "256", "2000")
    assert many - few < 8 * 1024
