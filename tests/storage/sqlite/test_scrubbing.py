"""Scrubbing: old copies of deleted rows leave the pages of a file that is in use.

What holds of the database holds of the search index, which is scrubbed by the same code.
"""

import json
import os
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connections

from storage.exceptions import StorageUnavailable
from storage.sqlite import checkpoints, scrubbing, text_scrubbing, text_separators
from storage.sqlite.file_format import Layout, UnknownFormat, logged_pages
from tests import switches
from tests.sqlite import connect
from tests.storage.conftest import OPTIONS
from tests.storage.sqlite.divided import (
    MARKER,
    DividedDatabase,
    DividedIndex,
    with_small_pages,
)

FAST = f"{OPTIONS['init_command']};PRAGMA synchronous = OFF"
FSYNC = os.fsync


@pytest.fixture
def make_database(add_database, make_interaction, monkeypatch):
    monkeypatch.setattr(scrubbing, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(checkpoints, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("storage.expiry.cutoff", lambda: datetime.min.replace(tzinfo=UTC))

    def make(alias="divided", **options):
        connection = add_database(alias, tables=False, init_command=FAST)
        return DividedDatabase(connection.alias, make_interaction, **options).save()

    return make


@pytest.fixture
def make_index(tmp_path, monkeypatch):
    monkeypatch.setattr(scrubbing, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(checkpoints, "PAUSE_SECONDS", 0.001)
    with_small_pages(monkeypatch)
    made = []

    def make(alias="divided"):
        made.append(DividedIndex(tmp_path / alias))
        return made[-1].save()

    yield make
    for divided in made:
        divided.index.close()


@pytest.fixture(params=["database", "index"])
def make_divided(request):
    return request.getfixturevalue(f"make_{request.param}")


@pytest.fixture
def make_planted(make_divided):
    return lambda alias: make_divided(alias).plant()


@pytest.fixture
def divided(make_divided):
    """Divided as real ones are."""
    return make_divided().divide()


@pytest.fixture
def planted(make_planted):
    return make_planted("planted")


@pytest.fixture
def planted_database(make_database):
    return make_database("planted").plant()


def test_nothing_of_what_was_deleted_is_left(divided):
    assert divided.found() > 0
    assert divided.is_sound()
    before = datetime.now(UTC)
    assert before <= divided.scrub() <= datetime.now(UTC)
    assert divided.in_file() == 0
    assert MARKER not in divided.log.read_bytes()
    assert divided.is_sound()


def test_a_database_without_locks_as_that_of_accounts_in_production(planted_database):
    planted_database.statements.write("DROP TABLE storage_lock", {})
    assert planted_database.found() > 0
    planted_database.scrub()
    assert planted_database.in_file() == 0


def test_words_that_fts5_keeps_where_its_pages_begin(make_index, monkeypatch):
    divided = make_index("words").divide()
    with monkeypatch.context() as m:
        m.setattr(text_scrubbing, "replace_separators", lambda *_: None)
        divided.scrub()
    left = divided.in_file()
    assert left == divided.in_separators() > 0, "SQLite's own way does not know of them"
    divided.scrub(datetime.now(UTC))
    assert divided.in_file() == 0
    assert divided.is_sound()


def test_what_is_only_in_the_log_goes_too(make_planted, monkeypatch):
    def left(alias):
        planted = make_planted(alias)
        planted.without_checkpoints()
        planted.touch()
        planted.wipe()
        assert planted.in_file() == 0
        planted.scrub()
        return planted.in_file()

    assert left("one") == 0
    empty_log, calls = scrubbing.empty_log, []
    monkeypatch.setattr(
        scrubbing, "empty_log", lambda *each: calls.append(1) or len(calls) % 2 or empty_log(*each)
    )
    assert left("two") > 0, "without the first time it would be missed"


class Rolling:
    """A connection that never commits."""

    def __init__(self, real):
        self._real = real
        self.close = real.close

    def execute(self, sql):
        return self._real.execute("ROLLBACK" if sql == "COMMIT" else sql)


def scrub_beside_a_reader(planted, monkeypatch, begun, overwritten):
    """A pass while a reader keeps the log. `begun` runs when it has begun; `overwritten`, and then
    the reader ends, when something was or could not be overwritten.
    """
    begin = scrubbing._Pass._begun

    def has_begun(self, since):
        progress = begin(self, since)
        reader.execute("BEGIN")
        reader.execute(planted.query).fetchone()
        begun()
        return progress

    def let_go(*_):
        if reader.in_transaction:
            overwritten()
            reader.execute("COMMIT")

    def fsync(descriptor):
        let_go()
        FSYNC(descriptor)

    with (
        closing(connect(planted.file, isolation_level=None)) as reader,
        monkeypatch.context() as m,
    ):
        m.setattr(scrubbing._Pass, "_begun", has_begun)
        m.setattr(scrubbing.time, "sleep", let_go)
        m.setattr(scrubbing.os, "fsync", fsync)
        planted.scrub()
    return planted.found()


def test_a_writer_that_has_the_pages_in_memory_brings_nothing_back(make_planted, monkeypatch):
    def left(alias):
        planted = make_planted(alias)
        with closing(connect(planted.file, isolation_level=None)) as writer:
            return scrub_beside_a_reader(
                planted,
                monkeypatch,
                begun=lambda: writer.execute(planted.query).fetchone(),
                overwritten=lambda: planted.touch(writer),
            )

    assert left("one") == 0
    connect_as_it_is = scrubbing._connect
    monkeypatch.setattr(scrubbing, "_connect", lambda file: Rolling(connect_as_it_is(file)))
    assert left("two") > 0, "without a commit its old pages would be written"


def test_pages_that_are_in_the_log_wait_until_it_is_empty(make_planted, monkeypatch):
    def left(alias):
        planted = make_planted(alias)
        return scrub_beside_a_reader(
            planted, monkeypatch, begun=planted.touch, overwritten=lambda: None
        )

    assert left("one") == 0
    monkeypatch.setattr(scrubbing, "logged_pages", lambda log: iter(()))
    assert left("two") > 0, "what the log has of them would be copied over the zeros"


def test_a_reader_that_keeps_the_log_is_told_and_the_next_call_goes_on(planted, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    with closing(connect(planted.file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute(planted.query).fetchone()
        planted.touch()
        with pytest.raises(StorageUnavailable, match="log cannot be emptied"):
            planted.scrub()
    planted.scrub()
    assert planted.in_file() == 0


def test_the_lock_of_a_run_is_renewed_without_copying_the_log(planted_database):
    """It would keep the run itself from emptying the log at that moment."""
    planted = planted_database
    connections["planted"].connection.execute("PRAGMA wal_autocheckpoint = 1")
    planted.touch()
    before = planted.file.read_bytes()
    assert planted.database.acquire_lock("lifecycle", "me", 60)
    assert planted.file.read_bytes() == before
    planted.touch()
    assert planted.file.read_bytes() != before, "other commits copy it still"


# Pages that are not of trees.


def test_the_pointer_map_is_left_alone(make_database):
    planted = make_database("planted", page_size=512).plant()
    content = planted.file.read_bytes()
    maps = Layout.of(content[:100], len(content)).skipped() - {1, 2**30 // 512 + 1}
    assert len(maps) > 2
    for number in maps:
        page = content[(number - 1) * 512 :][:512]
        assert set(page[0:510:5]) <= {0, 1, 2, 3, 4, 5}, "the types of pages"
    planted.scrub()
    assert planted.in_file() == 0
    assert planted.is_sound()


def test_its_entries_would_be_taken_for_a_page_of_a_tree():
    entries = b"\5\0\0\0\7" * 819  # pages of trees, whose parent is page 7
    assert layout().gap(entries.ljust(4096, b"\0")) == (26, 1280)


def layout(**fields):
    return Layout(
        **({"page_size": 4096, "usable": 4096, "pages": 1, "has_pointer_map": True} | fields)
    )


def test_where_the_pointer_map_is():
    """https://sqlite.org/fileformat2.html#pointer_map_or_ptrmap_pages"""
    assert layout(pages=2500).skipped() == {1, 2, 822, 1642, 2462, 262145}
    assert layout(pages=2500, has_pointer_map=False).skipped() == {1, 262145}
    # 2 + 103 * 20361 would be the page of the lock byte if there were one entry less in each map.
    pages = range(2, 2**30 // 512 + 2, 512 // 5 + 1)
    assert 2**30 // 512 + 1 not in pages
    with_reserved = layout(page_size=1024, usable=1020, pages=2**21)
    lock_page = 2**30 // 1024 + 1
    assert with_reserved.skipped() >= {1, lock_page}


@pytest.mark.parametrize(
    ("page", "gap"),
    [
        (b"\x0d\0\0\0\2\x0f\xf0\0", (12, 0xFF0)),
        (b"\x0a\0\0\0\0\x10\0\0", (8, 4096)),
        (b"\x05\0\0\0\1\x0f\xff\0", (14, 0xFFF)),
        (b"\x02\0\0\0\1\x0f\xff\0", (14, 0xFFF)),
        (b"\x0d\0\0\0\2\0\x0b\0", None),
        (b"\x0d\0\0\0\2\x10\1\0", None),
        (b"\0\0\0\2rest", (0, 0)),
    ],
)
def test_the_gap_of_a_page(page, gap):
    assert layout().gap(page.ljust(4096, b"x")) == gap


def test_the_largest_page_has_its_cells_at_0():
    page = b"\x0d\0\0\0\0\0\0\0".ljust(65536, b"x")
    assert layout(page_size=65536, usable=65536).gap(page) == (8, 65536)


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        (0, b"encrypted", "not a SQLite database"),
        (18, b"\1\1", "not a SQLite database in WAL mode"),
        (64, bytes(4), "auto_vacuum is FULL"),
    ],
)
def test_a_file_of_another_format_is_refused(planted_database, at, value, problem):
    header = bytearray(planted_database.file.read_bytes()[:100])
    Layout.of(bytes(header), 4096)
    header[at : at + len(value)] = value
    with pytest.raises(UnknownFormat, match=problem):
        Layout.of(bytes(header), 4096)


def test_so_is_one_with_more_pages_than_can_be_told_apart(planted_database, monkeypatch):
    planted = planted_database
    header = planted.file.read_bytes()[:100]
    Layout.of(header, 4096 * (2**24 - 1))
    with pytest.raises(UnknownFormat, match="16777216 pages"):
        Layout.of(header, 4096 * 2**24)
    monkeypatch.setattr("storage.sqlite.file_format.PAGES_MAX", 10)
    with pytest.raises(StorageUnavailable, match=r"more than 10\. .*VACUUM"):
        planted.scrub()


def test_what_is_in_a_log(planted_database):
    planted = planted_database
    planted.found()
    assert list(logged_pages(planted.log)) == []
    assert list(logged_pages(Path("no such file"))) == []
    planted.statements.write("PRAGMA user_version = 7", {})
    assert list(logged_pages(planted.log)) == [1]
    with planted.log.open("r+b") as log:  # as after a restart without truncation
        log.seek(16)
        log.write(b"other salts")
    assert list(logged_pages(planted.log)) == []


# Passes that are stopped.


class Stopped(Exception):
    pass


def stops_after(calls):
    counted = []

    def check_time():
        counted.append(1)
        if len(counted) > calls:
            raise Stopped

    return check_time


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(scrubbing, "CHUNK_BYTES", 8192)
    monkeypatch.setattr(scrubbing, "CHUNKS_AT_ONCE", 1)
    monkeypatch.setattr(text_separators, "PAGES_AT_ONCE", 100_000)  # begun anew when stopped


def test_a_pass_that_is_stopped_goes_on_where_it_was(planted, small_steps):
    began = set()
    calls = 0
    for _ in range(10_000):
        calls += 1
        with suppress(Stopped):
            began.add(planted.scrub(check_time=stops_after(3)))
            break
    assert calls > 5
    assert len(began) == 1
    assert planted.in_file() == 0
    assert planted.is_sound()


def test_one_that_began_too_early_counts_for_nothing(planted, small_steps):
    with pytest.raises(Stopped):
        planted.scrub(check_time=stops_after(3))
    since = datetime.now(UTC)
    assert planted.scrub(since) >= since
    assert planted.in_file() == 0


def test_nor_does_one_that_began_in_the_future(planted, small_steps):
    """The clock was wrong then."""
    with pytest.raises(Stopped):
        planted.scrub(check_time=stops_after(3))
    planted.began_at(datetime.now(UTC) + timedelta(hours=1))
    assert planted.scrub() <= datetime.now(UTC)


def test_pages_that_change_their_places_begin_it_anew(planted_database, small_steps):
    """Otherwise a page of the end could come where the pass has been."""
    planted = planted_database
    with pytest.raises(Stopped):
        planted.scrub(check_time=stops_after(5))
    assert planted.next_page() > 1
    planted.statements.write("DELETE FROM storage_chatinteraction WHERE rowid > 20", {})
    planted.database.reclaim()
    assert planted.next_page() is None
    with pytest.raises(Stopped):
        planted.scrub(check_time=stops_after(5))
    at = planted.next_page()
    with closing(connect(planted.file)) as connection, connection:
        connection.execute("CREATE TABLE another (id)")
    with pytest.raises(Stopped):
        planted.scrub(check_time=stops_after(2))
    assert 1 < planted.next_page() < at
    planted.scrub()
    assert planted.found() == 0


# Kills.


class Killed(BaseException):
    pass


class Calls:
    """What leaves the process, call by call; one of them is the last."""

    def __init__(self, monkeypatch, file):
        self.last = None
        self.count = 0
        for name in ("pwrite", "fsync", "pread"):
            monkeypatch.setattr(scrubbing.os, name, self._counted(getattr(os, name)))
        connect = scrubbing._connect
        monkeypatch.setattr(scrubbing, "_connect", lambda file: Watched(connect(file), self))
        for name in ("prepare", "note", "end"):
            monkeypatch.setattr(file, name, self._counted(getattr(file, name)))
        monkeypatch.setattr(scrubbing, "empty_log", self._counted(scrubbing.empty_log))

    def _counted(self, function):
        def call(*arguments):
            self.step()
            return function(*arguments)

        return call

    def step(self):
        self.count += 1
        if self.last is not None and self.count > self.last:
            raise Killed


class Watched:
    def __init__(self, real, calls):
        self._real, self._calls = real, calls
        self.close = real.close

    def execute(self, sql):
        self._calls.step()
        return self._real.execute(sql)


def test_a_kill_at_any_step_leaves_a_sound_database_and_the_next_pass_ends(planted, monkeypatch):
    monkeypatch.setattr(scrubbing, "PAGES_AT_ONCE", 20)
    monkeypatch.setattr(scrubbing, "CHUNK_BYTES", 40 * 4096)
    stride = 1 if switches.value("LIFECYCLE_KILLS") == "all" else 29
    with monkeypatch.context() as m:
        calls = Calls(m, planted.scrubbed_class)
        for last in range(1, 10_000, stride):
            calls.count, calls.last = 0, last
            with closing(connect(planted.file, isolation_level=None)) as writer:
                planted.touch(writer)  # has them in memory now
                try:
                    planted.scrub()
                    break
                except Killed:
                    planted.touch(writer)
    assert last > 20
    planted.forget_progress()
    assert planted.found() == 0, "what was killed last has ended"
    assert planted.is_sound()


# Beside others.


def test_while_others_write_and_read(run_program):
    passes = 3 if switches.value("LIFECYCLE_KILLS") == "some" else 60
    found = json.loads(run_program("with_django.scrubbed", str(passes), "1"))
    assert found["statuses"] == [0] * 5, "a writer has lost something, or failed"
    assert found["integrity"] == "ok"
    assert found["before"] > 0, "there was nothing to scrub"
    assert found["after"] == 0
