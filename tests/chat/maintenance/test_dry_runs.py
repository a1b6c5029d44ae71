"""A dry run is refused where the run itself would be, and changes nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from chat.maintenance.migration.handing_over import APART
from chat.maintenance.runs import LOCK
from storage.archive.ownership import FOR_EVER, NAME
from storage.archive.ownership import LOCK as IDENTITY

pytestmark = pytest.mark.every_backend(exhaustive=True)

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
COMMANDS = [
    ("archive_interactions",),
    ("purge_interactions",),
    ("restore_archive", (NOW - 40 * DAY).date().isoformat()),
    ("erase_user", "ada"),
    ("legal_hold", "add", "--user", "ada", "--reason", "a case"),
]


@pytest.fixture
def used(store):
    store.fill(*(NOW - days * DAY for days in (40, 31, 1)))
    store.run("archive_interactions", now=NOW - 5 * DAY)
    return store


def both_refused(store, arguments, words):
    """A run and a dry run are refused with the same line, and nothing is changed."""
    before = store.state()
    said = []
    for dry in ([], ["--dry-run"]):
        status, _, errors = store.told(*arguments, *dry)
        assert (status, words in errors) == (1, True), errors
        said.append(errors)
    assert said[0] == said[1]
    assert store.state() == before


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
@pytest.mark.every_backend
def test_after_the_archive_was_handed_over(used, arguments):
    """`migrate_storage --hand-over` leaves this in the database that is no longer used."""
    identity = used.archive.files.read_document(NAME)["identity"]
    used.storage.database.release_lock(IDENTITY, identity)
    assert used.storage.database.acquire_lock(IDENTITY, APART, FOR_EVER)
    both_refused(used, arguments, "The archive is not the one that this database has used")


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_with_an_archive_that_is_not_mounted(used, arguments):
    used.archive.files.delete(NAME)
    both_refused(used, arguments, "Is its disk mounted")


@pytest.mark.parametrize("arguments", COMMANDS[:-1], ids=lambda arguments: arguments[0])
@pytest.mark.every_backend
def test_while_another_run_is_at_work(used, arguments):
    assert used.storage.database.acquire_lock(LOCK, "another", 60)
    both_refused(used, arguments, "Another maintenance run is at work")
    used.storage.database.release_lock(LOCK, "another")
    assert used.told(*arguments, "--dry-run", "--wait", "1")[0] == 0


@pytest.mark.parametrize("arguments", COMMANDS[:-2], ids=lambda arguments: arguments[0])
def test_with_work_of_an_interrupted_run_that_cannot_be_completed(used, arguments):
    segment = used.segments()[-1]
    used.archive.mark(segment)
    for name in (used.archive.manifest(segment).data, f"{segment}.json"):
        used.archive.files.write(name, b"damaged")
        status, _, errors = used.told(*arguments, "--dry-run")
        assert (status, f"{name} in the archive is damaged" in errors) == (1, True)


def test_a_dry_run_reads_the_work_of_an_interrupted_run_and_leaves_it(used):
    used.archive.mark(used.segments()[0])
    before = used.state()
    told = used.run("archive_interactions", "--dry-run", now=NOW)
    assert told["finished"] == 1
    assert used.state() == before
