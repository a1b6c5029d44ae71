"""What a run costs follows what is due, not what is stored: counted, not timed."""

import functools
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from storage.archive.files import Files
from storage.dynamodb.client import Client
from storage.models import ChatInteraction
from storage.records.pages import PageQuery
from storage.sqlite import queries

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DUE = 300
STEP = 100
"""Instructions of SQLite between two calls of the handler that counts them."""


@pytest.fixture
def files_used(monkeypatch):
    """How often each operation on files of the archive was called."""
    return counted(monkeypatch, Files, ("read", "write", "delete", "list", "folders"))


@pytest.fixture
def requests(monkeypatch):
    """How many requests of each kind DynamoDB got."""
    used = Counter()
    request = Client.request

    def counting(self, operation, parameters):
        used[operation] += 1
        return request(self, operation, parameters)

    monkeypatch.setattr(Client, "request", counting)
    return used


def counted(monkeypatch, owner, names):
    used = Counter()

    def counting(name, function):
        def count(*args, **kwargs):
            used[name] += 1
            return function(*args, **kwargs)

        return count

    for name in names:
        monkeypatch.setattr(owner, name, counting(name, getattr(owner, name)))
    return used


def instructions(action):
    """What SQLite executes for `action`, in hundreds."""
    used = Counter()
    database = connection.connection

    def handler():
        used["all"] += 1
        return 0

    database.set_progress_handler(handler, STEP)
    try:
        action()
    finally:
        database.set_progress_handler(None, STEP)
    assert used["all"] > 0
    return used["all"]


def fill(first, count, start):
    """Rows a second apart, past the interface, which would take minutes."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.connection.executemany(queries.insert("default"), rows(first, count, start))
        cursor.execute("COMMIT")


@functools.cache  # all tests have the same
def rows(first, count, start):
    return [
        queries.to_parameters(
            ChatInteraction(
                interaction_id=f"{number:07}",
                user_id=f"user-{number % 40}",
                message="m" * 100,
                model_used="x",
                created_at=start + timedelta(seconds=number - first),
                updated_at=start,
            )
        )
        for number in range(first, first + count)
    ]


@pytest.mark.parametrize("command", ["archive_interactions", "purge_interactions"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_in_sqlite(store, files_used, command, dry):
    """300 are due, the same ones, among 1,000 and then among 8,000."""
    age = 31 if command == "archive_interactions" else 91
    costs, files = [], []
    store.run(command, now=NOW)  # the archive has its identity
    fill(10_000, 700, NOW - 20 * DAY)
    for _ in range(2):
        fill(0, DUE, NOW - age * DAY)
        files_used.clear()
        costs.append(instructions(lambda: store.run(command, *dry, now=NOW)))
        files.append(dict(files_used))
        ChatInteraction.objects.filter(pk__lt="0000300").delete()
        for segment in store.segments():
            ids = [row.interaction_id for row in store.archive.rows(segment)]
            store.storage.database.drop_stubs(ids, segment)
            store.archive.remove(segment)
        if len(costs) == 1:
            fill(20_000, 7_000, NOW - 20 * DAY)
    assert costs[1] < 1.05 * costs[0]
    assert files[0] == files[1]


def test_the_measure_tells_what_reads_all(store):
    fill(0, 1_000, NOW)
    few = instructions(lambda: list(ChatInteraction.objects.filter(message="x")))
    fill(1_000, 7_000, NOW)
    many = instructions(lambda: list(ChatInteraction.objects.filter(message="x")))
    assert many > 6 * few


@pytest.mark.parametrize("command", ["archive_interactions", "purge_interactions"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize("backend", ["dynamodb"], indirect=True)
def test_in_dynamodb(store, requests, files_used, command, dry):
    """The same numbers of requests, for 40 that are due among 50 and among 200."""
    age = 31 if command == "archive_interactions" else 91
    used = []
    others = 10
    for _ in range(2):
        store.fill(*(NOW - n * timedelta(minutes=1) for n in range(others)))
        due = store.fill(*(NOW - age * DAY - n * timedelta(seconds=1) for n in range(40)))
        if not used:
            store.run(command, now=NOW - 60 * DAY)  # the archive has its identity
        requests.clear()
        files_used.clear()
        store.run(command, *dry, now=NOW)
        used.append((dict(requests), dict(files_used)))
        for interaction_id in due:
            store.storage.delete_interaction_sync(interaction_id)
        if not dry:
            store.run(command, now=NOW)
        others = 140
    assert used[0] == used[1]


@pytest.mark.every_backend
def test_a_page_of_the_archive_opens_the_segments_that_have_its_rows(store, files_used):
    start = NOW - 40 * DAY
    ids = store.fill(*[start + timedelta(seconds=number) for number in range(200)])
    store.run("archive_interactions", "--batch-size", "5", now=NOW)
    assert len(store.segments()) == 40
    found, cursor = [], None
    for _ in range(3):
        files_used.clear()
        query = PageQuery(limit=10, cursor=cursor, created_after=start, tier="archive")
        page = store.storage.list_interactions_sync(query)
        found += [each.interaction_id for each in page.interactions]
        cursor = page.next_cursor
        # A manifest of each, to know which; then two reads of each that is opened.
        assert files_used["read"] < 40 + 2 * 25
    assert found == sorted(ids, reverse=True)[:30]
