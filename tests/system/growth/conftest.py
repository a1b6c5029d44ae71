"""The counts of both stores: made once, whichever test processes ask for them."""

import fcntl
import json
import os

import pytest

from tests import switches
from tests.chat import fork_server, processes

SMALL, LARGE = 2_000, switches.number("GROWTH_ROWS")
FEW, MANY = 500, 5_000


@pytest.fixture(scope="session")
def _shared(tmp_path_factory):
    """A folder that all test processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "growth"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def counts(_shared):
    """Gives what one of the programs has counted in a store with so many rows, by operation."""

    def of(program, rows, *more):
        name = f"{program}-{rows}"
        result = _shared / f"{name}.json"
        with (_shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not result.exists():
                result.write_text(count(_shared / name, program, str(rows), *more))
        return json.loads(result.read_text())

    return of


def count(folder, program, *arguments):
    """Run a program of this package in a folder of its own."""
    folder.mkdir()
    done = fork_server.run(
        ["-m", f"tests.system.growth.{program}", *arguments],
        processes.environment(
            folder, DJANGO_SETTINGS_MODULE="config.settings", RETENTION_TOTAL_DAYS="90"
        ),
        preloaded=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()[-1]


@pytest.fixture(scope="session")
def small(counts):
    """The counts of 2,000 rows."""
    return counts("counting", SMALL, "numbers")


@pytest.fixture(scope="session")
def large(counts):
    """The counts of many more rows of the same users."""
    return counts("counting", LARGE)


@pytest.fixture(scope="session")
def cloud_counts(counts, dynamodb_server, s3_server):
    return counts("cloud", f"{FEW},{MANY}", "--servers", dynamodb_server.url, s3_server.url)


@pytest.fixture(scope="session")
def few(cloud_counts):
    """The requests for 500 rows in DynamoDB and S3."""
    return cloud_counts[str(FEW)]


@pytest.fixture(scope="session")
def many(cloud_counts):
    """The requests for 5,000 rows there."""
    return cloud_counts[str(MANY)]
