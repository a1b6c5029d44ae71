"""The counts of both stores: made once, whichever test processes ask for them."""

import fcntl
import json
import os
import subprocess
import sys

import pytest

from tests.chat import processes

SMALL, LARGE = 2_000, 200_000


@pytest.fixture(scope="session")
def _shared(tmp_path_factory):
    """A folder that all test processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "growth"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def counts(_shared):
    """Gives the counts of the store with so many rows, by operation."""

    def of(rows):
        result = _shared / f"{rows}.json"
        with (_shared / f"{rows}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not result.exists():
                result.write_text(count(rows, _shared / str(rows)))
        return json.loads(result.read_text())

    return of


def count(rows, folder):
    """Run `tests.system.growth.counting` in a folder of its own."""
    folder.mkdir()
    more = ["numbers"] if rows == SMALL else []
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.growth.counting", str(rows), *more],
        cwd=processes.ROOT,
        env=processes.environment(folder, DJANGO_SETTINGS_MODULE="config.settings")
        | {"RETENTION_TOTAL_DAYS": "90"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def small(counts):
    """The counts of 2,000 rows."""
    return counts(SMALL)


@pytest.fixture(scope="session")
def large(counts):
    """The counts of 200,000 rows of the same users."""
    return counts(LARGE)
