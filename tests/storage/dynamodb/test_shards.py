"""The number of shards of the index of everyone's interactions, raised while processes run."""

import itertools
import threading
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache.backends.dummy import DummyCache
from django.core.management import CommandError, call_command

from storage.archive.archive import configured_archive
from storage.dynamodb import shards
from storage.dynamodb.configured import configured_client
from storage.exceptions import StorageUnavailable
from storage.management.commands import dynamodb_table
from storage.models.idempotency import Idempotency
from storage.records.pages import PageQuery, every
from storage.records.searches import Search
from storage.startup.selection import cloud_storage
from tests.clocks import Clock
from tests.clouds import make_storage
from tests.contract.calls import ids

LATER = datetime(9999, 1, 1, tzinfo=UTC)
NOON = datetime.now(UTC).replace(hour=12) - timedelta(days=1)


class Postponed:
    """In the place of the executor that refreshes behind a write: nothing runs until `run`."""

    def __init__(self):
        self.jobs = []

    def submit(self, job):
        self.jobs.append(job)

    def run(self):
        while self.jobs:
            self.jobs.pop()()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(shards, "time", clock)
    return clock


@pytest.fixture
def make_process(clock, dynamodb_model):
    """Makes a process that knows nothing yet of the table, which is the same for all."""
    client = make_storage(dynamodb_model, DummyCache("", {})).database.client

    def make():
        made = cloud_storage(client, DummyCache("", {}), configured_archive())
        made.database.shards = shards.Shards(client, Postponed())
        return made

    return make


@pytest.fixture
def process(make_process):
    return make_process()


def raise_to(storage, number):
    shards.begin_raise(storage.database.client, number)
    shards.end_raise(storage.database.client, number)


def raised(storage, number=16):
    """The process, which knows the new number."""
    raise_to(storage, number)
    storage.database.shards.refresh()
    return storage


def shard_of(storage, interaction_id):
    return storage.database._item(interaction_id)["shard"]["S"]


def expected_shard(interaction_id, count):
    return str(zlib.crc32(interaction_id.encode()) % count)


NAMES = [f"i{number}" for number in range(12)]


def test_the_names_are_in_shards_that_are_old_and_new():
    found = {int(expected_shard(name, 16)) for name in NAMES}
    assert min(found) < 4 <= max(found)
    assert any(expected_shard(name, 4) != expected_shard(name, 16) for name in NAMES)


@pytest.fixture
def make_rows(make_interaction):
    def make(names=NAMES):
        return [
            make_interaction(interaction_id=name, created_at=NOON + timedelta(seconds=number))
            for number, name in enumerate(names)
        ]

    return make


def by_save(storage, rows):
    for row in rows:
        storage.save_interaction_sync(row)


def by_create(storage, rows):
    for row in rows:
        storage.create_interaction_sync(row)


def by_key(storage, rows):
    for row in rows:
        storage.create_interaction_sync(row, Idempotency(key=row.interaction_id, request="r"))


def by_batch(storage, rows):
    storage.create_interactions_sync(rows)


def from_cold(storage, rows):
    storage.create_interactions_sync(rows)
    segments = {row.interaction_id: "s" for row in rows}
    assert storage.database.move_to_cold(rows, segments) == len(rows)
    assert storage.database.return_from_cold(rows, "s") == len(rows)


WRITES = [by_save, by_create, by_key, by_batch, from_cold]


@pytest.mark.parametrize("write", WRITES)
def test_every_way_to_write_spreads_over_the_shards_of_the_table(process, make_rows, write):
    write(raised(process), make_rows())
    for name in NAMES:
        assert shard_of(process, name) == expected_shard(name, 16)


def everywhere(storage):
    """What each reader of the index sees, oldest first."""
    page = storage.list_interactions_sync(PageQuery(limit=100))
    found = storage.search_interactions_sync(Search(model_used="model-1", limit=100)).interactions
    oldest = storage.database.oldest(LATER, 100, None)
    assert storage.database.count_oldest(LATER, 1000) == len(oldest)
    assert ids(found) == ids(page.interactions) == ids(oldest)[::-1]
    return ids(oldest)


def test_what_a_process_writes_that_has_not_heard_of_the_raise_is_in_every_list(
    make_process, make_rows
):
    old, new = make_process(), make_process()
    rows = make_rows()
    by_create(old, rows[:4])
    raised(new)
    by_create(old, rows[4:8])
    by_create(new, rows[8:])
    assert {shard_of(new, name) for name in NAMES[:8]} <= {"0", "1", "2", "3"}
    assert {shard_of(new, name) for name in NAMES[8:]} - {"0", "1", "2", "3"}
    assert everywhere(new) == everywhere(make_process()) == NAMES


def begin_with(old, new, clock, wait):
    """A raise, of which `new` knows all and `old` what it asks for; how long it was waited for."""
    old.database.shards.refresh()
    shards.begin_raise(new.database.client, 16)
    clock.passes(wait)
    shards.end_raise(new.database.client, 16)
    new.database.shards.refresh()


def test_what_new_shards_have_is_in_every_list_of_a_process_that_had_not_heard(
    make_process, make_rows, clock
):
    old, new = make_process(), make_process()
    begin_with(old, new, clock, shards.WAIT_SECONDS)
    by_create(new, make_rows())
    assert everywhere(old) == NAMES


def test_without_the_wait_lists_would_miss_some(make_process, make_rows, clock):
    # The control.
    old, new = make_process(), make_process()
    begin_with(old, new, clock, 0)
    by_create(new, make_rows())
    assert len(everywhere(old)) < len(NAMES)


def test_without_an_end_to_what_is_remembered_lists_would_miss_some(
    make_process, make_rows, clock, monkeypatch
):
    # The control.
    monkeypatch.setattr(shards, "REMEMBERED_SECONDS", float("inf"))
    old, new = make_process(), make_process()
    begin_with(old, new, clock, shards.WAIT_SECONDS)
    by_create(new, make_rows())
    assert len(everywhere(old)) < len(NAMES)


def test_while_a_raise_is_under_way_nothing_goes_to_the_new_shards(process, make_rows):
    shards.begin_raise(process.database.client, 16)
    process.database.shards.refresh()
    by_create(process, make_rows())
    assert {shard_of(process, name) for name in NAMES} <= {"0", "1", "2", "3"}
    assert process.database.shards.to_read() == 16


@pytest.mark.parametrize("write", [by_save, from_cold, by_create])
def test_a_row_that_is_written_again_after_the_raise_is_listed_once(process, make_rows, write):
    by_create(process, make_rows())
    raised(process)
    if write is not by_save:  # which leaves the row where it is
        for name in NAMES:
            process.delete_interaction_sync(name)
    write(process, make_rows())
    count = 4 if write is by_save else 16
    assert [shard_of(process, name) for name in NAMES] == [
        expected_shard(name, count) for name in NAMES
    ]
    assert everywhere(process) == NAMES


def test_pages_go_on_through_old_and_new_shards(process, make_rows):
    rows = make_rows()
    by_create(process, rows[::2])
    by_create(raised(process), rows[1::2])
    found, cursor = [], None
    for _ in range(4):
        page = process.list_interactions_sync(PageQuery(limit=3, cursor=cursor))
        found += ids(page.interactions)
        cursor = page.next_cursor
    assert (found, cursor) == (NAMES[::-1], None)


@pytest.fixture
def asked(process, monkeypatch):
    """The operations that the process asks for."""
    asked = []
    request = process.database.client.request

    def noted(operation, parameters):
        asked.append((operation, parameters.get("Key") == shards.KEY))
        return request(operation, parameters)

    monkeypatch.setattr(process.database.client, "request", noted)
    return asked


NUMBER_READ = ("GetItem", True)


def test_the_number_is_read_once_in_30_seconds_whatever_is_read_and_written(
    process, make_rows, clock, asked
):
    for rounds in (1, 2):
        by_create(process, make_rows())
        for _ in range(3):
            process.list_interactions_sync(PageQuery())
            process.get_user_interactions_sync("ada", 10)
        process.database.shards._executor.run()
        assert asked.count(NUMBER_READ) == rounds
        clock.passes(shards.REMEMBERED_SECONDS + 1)


def test_a_write_never_waits_for_the_number(process, make_rows, asked):
    by_create(process, make_rows())
    by_batch(process, make_rows())
    assert NUMBER_READ not in asked


def test_a_process_that_only_writes_learns_of_the_raise(process, make_rows, clock):
    by_create(process, make_rows())
    raise_to(process, 16)
    process.database.shards._executor.run()
    for name in NAMES:
        process.delete_interaction_sync(name)
    by_create(process, make_rows())
    assert [shard_of(process, name) for name in NAMES] == [
        expected_shard(name, 16) for name in NAMES
    ]


def test_if_the_number_cannot_be_read_writes_go_on_and_lists_fail(
    process, make_rows, monkeypatch, clock
):
    request = process.database.client.request

    def failing(operation, parameters):
        if parameters.get("Key") == shards.KEY:
            raise StorageUnavailable("DynamoDB did not answer.")
        return request(operation, parameters)

    monkeypatch.setattr(process.database.client, "request", failing)
    by_create(process, make_rows())
    process.database.shards._executor.run()
    with pytest.raises(StorageUnavailable):
        process.list_interactions_sync(PageQuery())
    assert len(process.get_user_interactions_sync("ada", 20)) == len(NAMES)
    monkeypatch.setattr(process.database.client, "request", request)
    assert everywhere(process) == NAMES


def test_an_answer_that_comes_late_takes_nothing_back(process, monkeypatch):
    known = process.database.shards
    early = shards.read(process.database.client)
    raised(process)
    monkeypatch.setattr(shards, "read", lambda client: early)
    known.refresh()
    assert (known.to_read(), known.to_write()) == (16, 16)


def test_shards_are_asked_side_by_side(process, make_rows, monkeypatch):
    """As many at a time as there are threads for it: each waits for the others."""
    by_create(raised(process), make_rows())
    together = threading.Barrier(4, timeout=60)
    request = process.database.client.request

    def meeting(operation, parameters):
        if operation == "Query":
            together.wait()
        return request(operation, parameters)

    monkeypatch.setattr(process.database.client, "request", meeting)
    page = process.list_interactions_sync(PageQuery())
    assert ids(page.interactions) == NAMES[::-1]


# The command

numbers = itertools.count()


@pytest.fixture
def client(dynamodb_server, settings):
    settings.AWS_REGION = "eu-central-1"
    settings.DYNAMODB_ENDPOINT_URL = dynamodb_server.url
    settings.DYNAMODB_TABLE = f"shards-{next(numbers)}"
    call_command("dynamodb_table", "create")
    return configured_client()


@pytest.fixture
def waits(client, monkeypatch):
    """What the table says during each wait; the command does not really wait."""
    waits = []
    clock = Clock()
    clock.sleep = lambda seconds: waits.append((seconds, shards.read(client)[:2]))
    monkeypatch.setattr(dynamodb_table, "time", clock)
    return waits


def run(capsys, *arguments):
    """The lines without the name of the table."""
    capsys.readouterr()
    call_command("dynamodb_table", *arguments)
    return [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]


def test_the_command_raises_in_two_steps(client, waits, capsys):
    assert run(capsys, "shards") == ["4"]
    first, last = run(capsys, "shards", "8")
    assert first == "lists read 8 shards; waiting 60 s until every server knows"
    assert waits == [(60.0, (8, 4))]
    counts = shards.read(client)
    assert counts[:2] == (8, 8)
    assert datetime.now(UTC) - counts.since < timedelta(minutes=5)
    assert last == f"8, since {counts.since:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert run(capsys, "shards") == [last]
    assert run(capsys, "shards", "8") == ["has 8 shards already"]
    run(capsys, "shards", "12")
    assert shards.read(client)[:2] == (12, 12)
    assert len(waits) == 2


def test_a_dry_run_says_what_would_be_done_and_does_nothing(client, waits, capsys):
    expected = ["would go from 4 to 8 shards, which takes 60 s"]
    assert run(capsys, "shards", "8", "--dry-run") == expected
    assert (shards.read(client), waits) == (shards.Counts(), [])


def test_what_cannot_be_is_refused(client, waits, capsys):
    run(capsys, "shards", "8")
    for number, words in {
        "3": "has 8 shards, and the number cannot be lowered to 3",
        "0": "must be from 1 to 64, not 0",
        "65": "must be from 1 to 64, not 65",
    }.items():
        with pytest.raises(CommandError, match=words):
            call_command("dynamodb_table", "shards", number)
    assert shards.read(client)[:2] == (8, 8)


def test_a_raise_that_was_interrupted_is_named_and_completed(client, waits, capsys, monkeypatch):
    interrupted = Clock()

    def interrupt(seconds):
        raise KeyboardInterrupt

    interrupted.sleep = interrupt
    with monkeypatch.context() as patched:
        patched.setattr(dynamodb_table, "time", interrupted)
        with pytest.raises(CommandError, match="run it again"):
            call_command("dynamodb_table", "shards", "8")
    assert run(capsys, "shards") == ["4 written and 8 read: a raise is under way"]
    with pytest.raises(SystemExit):
        call_command("dynamodb_table", "check")
    assert "manage.py dynamodb_table shards 8" in capsys.readouterr().err
    run(capsys, "shards", "8")
    assert shards.read(client)[:2] == (8, 8)
    assert waits == [(60.0, (8, 4))]
    call_command("dynamodb_table", "check")


def test_two_raises_at_once_end_with_the_greater(client):
    shards.begin_raise(client, 8)
    shards.begin_raise(client, 16)
    shards.end_raise(client, 16)
    shards.begin_raise(client, 8)
    shards.end_raise(client, 8)
    assert shards.read(client)[:2] == (16, 16)


def test_no_key_in_a_query_is_longer_than_dynamodb_takes(process, make_interaction, monkeypatch):
    """Ids whose place in the list is as long as a sort key can be, a byte more or less."""
    longest = ["\U0001f99c" * 249 + "a" * number for number in range(4)]
    for interaction_id in longest:
        process.copy_interactions(
            [make_interaction(interaction_id=interaction_id, created_at=NOON)]
        )
    client, sizes, after, found = process.database.client, [], None, []
    call = client.call

    def measured(operation, **parameters):
        values = parameters.get("ExpressionAttributeValues", {}).values()
        sizes.extend(len(value["S"].encode()) for value in values if "S" in value)
        return call(operation, **parameters)

    monkeypatch.setattr(client, "call", measured)
    while page := process.database.oldest(LATER, 1, after, every):
        found += ids(page)
        after = page[-1].position
    assert sorted(found) == longest
    assert max(sizes) == 1024
