"""What is done for a user, for a page or for one row costs what it is, however much is archived.

Bytes and files are counted, among 1,000 rows and among 50,000 of the same users and days. With
another GROWTH_ROWS than the usual one they are 100,000.
"""

import os
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.transaction import atomic

from chat.maintenance.archiving import cut
from chat.maintenance.erasure import erasing
from chat.maintenance.export.exporting import pages_of
from chat.maintenance.policy import Policy
from chat.maintenance.runs import Run
from storage.archive import segments
from storage.archive.archive import Archive
from storage.archive.files import Files
from storage.compat import batched
from storage.models import ChatInteraction
from storage.records.pages import PageQuery
from tests import switches
from tests.storage.archive.format_1 import EarlierArchive

FIRST = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=90)
DAYS = 30
USERS = 300
SMALL = 1_000
LARGE = 100_000 if switches.is_set("GROWTH_ROWS") else 50_000


class Cost(dict):
    """What is read from files, written to them, and decompressed; and how many files are opened."""

    def __init__(self, monkeypatch, storage):
        self.reset()
        self._monkeypatch, self._storage = monkeypatch, storage
        read, write, lines_of = Files.read, Files.write, segments.lines_of

        def counted_read(files, name, *args):
            content = read(files, name, *args)
            self["reads"] += 1
            self["read"] += len(content or b"")
            return content

        def counted_write(files, name, content):
            self["written"] += len(content) if isinstance(content, bytes) else content.seek(0, 2)
            if not isinstance(content, bytes):
                content.seek(0)
            write(files, name, content)

        def counted_lines(*args):
            lines = lines_of(*args)
            self["unpacked"] += sum(map(len, lines))
            return lines

        monkeypatch.setattr(Files, "read", counted_read)
        monkeypatch.setattr(Files, "write", counted_write)
        monkeypatch.setattr(segments, "lines_of", counted_lines)

    def reset(self):
        self.update(reads=0, read=0, written=0, unpacked=0)

    def of(self, action):
        """What an action costs a process that remembers nothing, and what it returns."""
        archive = Archive(self._storage.archive.files.backend)
        self._monkeypatch.setattr(self._storage, "archive", archive)
        self.reset()
        result = action()
        return dict(self), result


def fill(archive, count):
    """Archive rows past the commands, which would take minutes."""
    a_day = count // DAYS
    for day in range(DAYS):
        start = FIRST + timedelta(days=day, hours=1)
        rows = [made(day, number, start, 80_000 / a_day) for number in range(a_day)]
        with atomic(), connection.cursor() as cursor:
            for batch in cut(rows):
                segment = archive.new_segment(start.date())
                archive.write(segment, batch)
                stubs = [
                    (row.interaction_id, f"{row.created_at:%F %T.%f}", segment) for row in batch
                ]
                cursor.executemany(
                    "INSERT INTO storage_archivedinteraction (interaction_id, created_at, segment)"
                    " VALUES (%s, %s, %s)",
                    stubs,
                )


def made(day, number, start, seconds):
    is_rare = number == 7 and not day % 10
    created_at = start + timedelta(seconds=number * seconds)
    return ChatInteraction.from_stored(
        {
            "interaction_id": f"{day:02}-{number:06}",
            "user_id": "rare" if is_rare else f"user-{number * 7919 % USERS}",
            "message": f"{number * 7919} {number * 104_729} {number * 15_485_863}",
            "response": "",
            "model_used": "x",
            "input_tokens": 1,
            "output_tokens": 1,
            "created_at": created_at,
            "updated_at": created_at,
        }
    )


def rows_a_day(user_id, count):
    return sum(made(1, n, FIRST, 1).user_id == user_id for n in range(count // DAYS))


def pages(storage, user_id, **period):
    """The sizes of all pages of 50."""
    cursor, sizes = None, []
    while not sizes or cursor:
        query = PageQuery(limit=50, cursor=cursor, tier="archive", **period)
        page = storage.list_user_interactions_sync(user_id, query)
        sizes.append(len(page.records))
        cursor = page.next_cursor
    return sizes


def test_costs_are_those_of_what_is_asked_for(store, settings, monkeypatch):
    check(*costs(store, settings, monkeypatch))


@pytest.mark.exhaustive
def test_the_check_fails_if_rows_are_sorted_by_time_as_they_were(store, settings, monkeypatch):
    monkeypatch.setattr(store.archive, "write", EarlierArchive(store.archive.files.backend).write)
    monkeypatch.setattr(sys.modules[__name__], "cut", lambda rows: batched(rows, 5000))
    with pytest.raises(AssertionError):
        check(*costs(store, settings, monkeypatch))


def costs(store, settings, monkeypatch):
    """What each operation costs, and returns, among few rows and among many."""
    settings.RETENTION_TOTAL_DAYS = 91
    # Pseudonyms decide whose segments must be looked into. With a key of this installation, few of
    # a small store might have the rare user between their first and last: this key has it in most.
    settings.SECRET_KEY = "the key of these tests, number 0"
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    archive, storage = store.archive, store.storage
    cost = Cost(monkeypatch, storage)
    store.run("archive_interactions", now=datetime.now(UTC))  # the archive has its identity
    period = {
        "created_after": FIRST + timedelta(days=10),
        "created_before": FIRST + timedelta(days=26),
    }
    newest = PageQuery(limit=50, tier="archive", created_after=FIRST + timedelta(days=20))

    def erase(user_id):
        with Run(storage) as run:
            job = erasing.Job(storage, Policy.at(run.now), run, erasing.Erased())
            return job.erase(user_id, "a test").erased.get("cold", 0)

    found = {}
    for count in (SMALL, LARGE):
        for segment in store.segments():
            archive.remove(segment)
        connection.cursor().execute("DELETE FROM storage_archivedinteraction")
        fill(archive, count)
        found[count] = {
            "status": cost.of(lambda: store.run("storage_status", now=datetime.now(UTC))["cold"]),
            "one row": cost.of(lambda: storage.get_json_sync("15-000010") is not None),
            "page": cost.of(lambda: len(storage.list_interactions_sync(newest).records)),
            "list": cost.of(lambda: pages(storage, "user-57", **period)),
            "list of rare": cost.of(lambda: pages(storage, "rare", **period)),
            "export": cost.of(lambda: sum(map(len, pages_of(storage, "user-57")))),
            "export of rare": cost.of(lambda: sum(map(len, pages_of(storage, "rare")))),
            "erase rare": cost.of(lambda: erase("rare")),
            "erase": cost.of(lambda: erase("user-57")),
        }
    return found[SMALL], found[LARGE]


def check(small, large):
    """Each cost is bounded by what was asked for."""
    for costs in (small, large):
        assert costs["status"][0]["read"] <= 200, "whose archive it is"
        assert costs["one row"][0]["unpacked"] <= 64 * 1024
        assert costs["one row"][0]["read"] <= 16 * 1024
        cost, count = costs["page"]
        assert count == 50
        assert cost["reads"] <= 2 * 51 + 2, "a manifest and a frame for each row"
        assert cost["unpacked"] <= 51 * 17 * 1024
        assert costs["list of rare"][1] == [2]
        assert costs["export of rare"][1] == costs["erase rare"][1] == 3
        for name in ("export", "erase"):
            cost, count = costs[name]
            assert cost["read"] <= 20 * count * 250 + 1_000_000, name
            assert cost["written"] <= 20 * count * 250 + 50_000, name
    for name in ("list of rare", "export of rare", "erase rare"):
        for kind in ("reads", "read", "written", "unpacked"):
            assert large[name][0][kind] <= 3 * small[name][0][kind], (name, kind)
    sizes = large["list"][1]
    assert set(sizes[:-1]) == {50}, "a page is short, and more follow"
    more = rows_a_day("user-57", LARGE)
    assert (sum(small["list"][1]), sum(sizes)) == (16, 16 * more)
    assert large["list"][0]["read"] <= 3 * more * small["list"][0]["read"]
    assert large["list"][0]["unpacked"] <= 3 * more * small["list"][0]["unpacked"]
