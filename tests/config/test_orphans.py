"""Workers whose main process was killed; `test_kill` does it to the real server."""

import signal
import subprocess
import sys

from tests.config.orphan import SECONDS


def test_a_worker_ends_that_starts_when_its_main_process_has_gone() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.config.orphan"],
        stdout=subprocess.PIPE,  # until the worker ends, too, which has it
        timeout=SECONDS / 3,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
