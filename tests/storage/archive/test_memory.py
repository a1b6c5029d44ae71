"""What the archive takes of memory does not grow with its rows."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chat.processes import ROOT, environment


def taken(folder, rows):
    """The most memory that writing, reading and rewriting so many rows took, in KiB."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.storage.archive.programs.memory", str(rows)],
        cwd=ROOT,
        env=environment(folder, DJANGO_SETTINGS_MODULE="config.settings"),
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return int(result.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it so")
def test_the_memory_of_segments_is_bounded(tmp_path):
    """12,000 rows are 24 MB in 47 segments."""
    assert taken(tmp_path / "many", 12_000) - taken(tmp_path / "few", 2_000) < 16 * 1024
