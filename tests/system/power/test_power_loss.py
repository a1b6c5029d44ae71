"""What was acknowledged survives a loss of power after any call: rows, backups, archive, keys.

A program runs, and every call by which it changes files is recorded. Then the disks are built that
a loss may leave, and the application looks at each: at those where all that was not synced is lost,
where all of it is kept (as after kill -9), and where any part of it is, in sectors or in writes.
"""

import shutil

import pytest

from tests import switches
from tests.chat import processes
from tests.system.power import recording
from tests.system.power.losses import Scenario

POINTS, OTHERS = switches.number("POWER_LOSS_POINTS"), switches.number("POWER_LOSS_DISKS")

pytestmark = pytest.mark.skipif(
    recording.compiler() is None, reason="the recorder is compiled with cc, on Linux"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return recording.compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A folder of data with an empty database."""
    folder = tmp_path_factory.mktemp("database")
    processes.give_tables(folder)
    return folder


@pytest.fixture
def run(library, database, tmp_path):
    """Runs a scenario on a database of its own, and records it."""

    def begin(name, without=""):
        root = tmp_path / "data"
        shutil.copytree(database, root)
        return Scenario(library, root, name, without)

    return begin


def test_nothing_that_was_promised_is_lost(run):
    result = run("little_of_all").lose_power(points=POINTS, others=OTHERS)
    assert result.wrong == []
    assert result.disks >= min(POINTS, result.events) * (2 + OTHERS)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["writes", "backups", "archive"])
def test_nothing_of_it_is_lost_on_more_disks(run, name):
    result = run(name).lose_power(points=POINTS, others=OTHERS)
    print(f"{name}: {result.events:,} calls, {result.disks:,} disks, {len(result.wrong)} wrong")
    assert result.wrong == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("without", "name", "says"),
    [
        ("full_sync", "writes", "row "),
        ("synced_files", "backups", "verify_backup"),
        ("synced_files", "archive", "verify_archive"),
        ("one_transaction", "writes", "its key is not"),
    ],
)
def test_what_has_lost_its_protection_is_found_out(run, without, name, says):
    # The control: shows that the tests above see a loss.
    result = run(name, without).lose_power(points=400, others=1, until=says)
    assert any(says in problem for _, problems in result.wrong for problem in problems)
