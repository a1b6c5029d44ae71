"""Scrubbing: old copies of deleted rows leave the pages of a database that is in use."""

import json
import os
import random
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connections

from storage.archive.archive import configured_archive
from storage.exceptions import StorageUnavailable
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction, Lock
from storage.sqlite import checkpoints, database_file, scrubbing
from storage.sqlite.database import SqliteDatabase
from storage.sqlite.file_format import Layout, UnknownFormat, logged_pages
from storage.sqlite.statements import Statements
from tests import switches
from tests.sqlite import connect
from tests.storage.conftest import OPTIONS

MARKER = b"marker"
FAST = f"{OPTIONS['init_command']};PRAGMA synchronous = OFF"
FSYNC = os.fsync
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Divided:
    """A database whose pages were divided while they held rows that are deleted by now."""

    def __init__(self, alias, page_size=4096):
        self.statements = Statements(alias)
        self.file = Path(connections[alias].settings_dict["NAME"])
        self.log = Path(f"{self.file}-wal")
        self._prepare(alias, page_size)
        self.database = SqliteDatabase(alias, LargeTexts(configured_archive().files))
        self.kept = {}

    def _prepare(self, alias, page_size):
        with closing(connect(self.file)) as connection:
            connection.execute(f"PRAGMA page_size = {page_size}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")
        with connections[alias].schema_editor() as editor:
            for model in (ChatInteraction, Lock):
                editor.create_model(model)

    def save(self, make_interaction):
        """Save a few rows."""
        choose = random.Random(1)
        rows = [self._row(choose, make_interaction, "somebody") for _ in range(100)]
        self.database.create_many(rows)
        self.kept = {each.interaction_id: each for each in rows}
        return self

    def divide(self, make_interaction):
        """Save and delete until the files have something of what was deleted."""
        choose = random.Random(0)
        for _ in range(30):
            rows = [self._row(choose, make_interaction, "marker") for _ in range(60)]
            rows += [self._row(choose, make_interaction, f"u{n}") for n in range(90)]
            choose.shuffle(rows)
            self.database.create_many(rows)
            mine = [each for each in rows if each.user_id.startswith("marker")]
            for each in choose.sample(mine, 30):
                self.database.update(
                    each.interaction_id, {"response": "marker" * 50}, None, lambda _: None
                )
            choose.shuffle(mine)
            self.database.remove_of_user(mine, mine[0].user_id)
            self.kept |= {
                each.interaction_id: each for each in rows if not each.user_id.startswith("marker")
            }
            if self.found():
                return self
        raise AssertionError("no copies were left, so this tests nothing")

    def _row(self, choose, make_interaction, name):
        return make_interaction(
            interaction_id=f"{name}-{choose.getrandbits(128):032x}".ljust(150, "y"),
            user_id=name.ljust(150, "x"),
            message=f"{name} " * choose.randrange(40),
            response=f"{name} " * choose.randrange(60),
            input_tokens=1000,
            created_at=NOW + timedelta(microseconds=choose.randrange(10**10)),
        )

    def plant(self):
        """Put something into the unallocated part of every page, as if all had been divided."""
        checkpoints.empty_log(self.statements)
        self._write_into_gaps(lambda size: MARKER.rjust(size // 2) if size > 20 else b"")
        return self

    def wipe(self):
        """Take it out again, behind everybody's back."""
        self._write_into_gaps(bytes)

    def _write_into_gaps(self, make):
        descriptor = database_file.descriptor(str(self.file))
        content = self.file.read_bytes()
        layout = Layout.of(content[:100], len(content))
        for number in set(range(1, layout.pages + 1)) - layout.skipped():
            begin, end = layout.gap(content, (number - 1) * layout.page_size)
            os.pwrite(descriptor, make(end - begin), begin)
        with closing(connect(self.file)) as connection:  # all others forget what they have read
            connection.execute("PRAGMA user_version = 1")

    def touch(self, connection=None):
        """Let a writer write every page of the table, and leave everything in its place."""
        sql = "UPDATE storage_chatinteraction SET input_tokens = input_tokens + 1"
        if connection is None:
            self.statements.write(sql, {})
        else:
            connection.execute(sql)

    def found(self):
        """How much there is of what was deleted, in the file without its log."""
        checkpoints.empty_log(self.statements)
        return self.in_file()

    def in_file(self):
        return self.file.read_bytes().count(MARKER)

    def scrub(self, since=NOW, check_time=lambda: None):
        return scrubbing.scrub(self.statements, since, check_time)

    def is_sound(self):
        """Nothing is lost, and SQLite finds no mistake."""
        rows = self.statements.rows("SELECT interaction_id FROM storage_chatinteraction", {})
        assert {each for (each,) in rows} == self.kept.keys()
        for interaction_id, expected in self.kept.items():
            found = self.database.read(interaction_id)
            expected.input_tokens = found.input_tokens  # `touch` has changed it
            assert found.same_content(expected)
        return self.statements.rows("PRAGMA integrity_check", {}) == [("ok",)]


@pytest.fixture
def make_divided(add_database, make_interaction, monkeypatch):
    monkeypatch.setattr(scrubbing, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(checkpoints, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("storage.expiry.cutoff", lambda: datetime.min.replace(tzinfo=UTC))

    def make(alias="divided", **options):
        connection = add_database(alias, tables=False, init_command=FAST)
        return Divided(connection.alias, **options).save(make_interaction)

    return make


@pytest.fixture
def make_planted(make_divided):
    return lambda alias, **options: make_divided(alias, **options).plant()


@pytest.fixture
def divided(make_divided, make_interaction):
    """Divided as real ones are."""
    return make_divided().divide(make_interaction)


@pytest.fixture
def planted(make_planted):
    return make_planted("planted")


def test_nothing_of_what_was_deleted_is_left(divided):
    assert divided.found() > 0
    before = datetime.now(UTC)
    assert before <= divided.scrub() <= datetime.now(UTC)
    assert divided.in_file() == 0
    assert MARKER not in divided.log.read_bytes()
    assert divided.is_sound()


def test_a_database_without_locks_as_that_of_accounts_in_production(planted):
    planted.statements.write("DROP TABLE storage_lock", {})
    assert planted.found() > 0
    planted.scrub()
    assert planted.in_file() == 0


def without_checkpoints(divided):
    connections[divided.statements.alias].connection.execute("PRAGMA wal_autocheckpoint = 0")


def test_what_is_only_in_the_log_goes_too(make_planted, monkeypatch):
    def left(alias):
        planted = make_planted(alias)
        without_checkpoints(planted)
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
        reader.execute("SELECT count(*) FROM storage_lock").fetchone()
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
            query = "SELECT sum(length(message)) FROM storage_chatinteraction"
            return scrub_beside_a_reader(
                planted,
                monkeypatch,
                begun=lambda: writer.execute(query).fetchone(),
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
        reader.execute("SELECT count(*) FROM storage_chatinteraction").fetchone()
        planted.statements.write("UPDATE storage_chatinteraction SET input_tokens = 7", {})
        with pytest.raises(StorageUnavailable, match="log cannot be emptied"):
            planted.scrub()
    planted.scrub()
    assert planted.in_file() == 0


def test_the_lock_of_a_run_is_renewed_without_copying_the_log(planted):
    """It would keep the run itself from emptying the log at that moment."""
    connections["planted"].connection.execute("PRAGMA wal_autocheckpoint = 1")
    planted.touch()
    before = planted.file.read_bytes()
    assert planted.database.acquire_lock("lifecycle", "me", 60)
    assert planted.file.read_bytes() == before
    planted.touch()
    assert planted.file.read_bytes() != before, "other commits copy it still"


# Pages that are not of trees.


def test_the_pointer_map_is_left_alone(make_planted):
    planted = make_planted("planted", page_size=512)
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
def test_a_file_of_another_format_is_refused(planted, at, value, problem):
    header = bytearray(planted.file.read_bytes()[:100])
    Layout.of(bytes(header), 4096)
    header[at : at + len(value)] = value
    with pytest.raises(UnknownFormat, match=problem):
        Layout.of(bytes(header), 4096)


def test_so_is_one_with_more_pages_than_can_be_told_apart(planted, monkeypatch):
    header = planted.file.read_bytes()[:100]
    Layout.of(header, 4096 * (2**24 - 1))
    with pytest.raises(UnknownFormat, match="16777216 pages"):
        Layout.of(header, 4096 * 2**24)
    monkeypatch.setattr("storage.sqlite.file_format.PAGES_MAX", 10)
    with pytest.raises(StorageUnavailable, match=r"more than 10\. .*VACUUM"):
        planted.scrub()


def test_what_is_in_a_log(planted):
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
    Lock.objects.using("planted").update(until=datetime.now(UTC) + timedelta(hours=1))
    assert planted.scrub() <= datetime.now(UTC)


def next_page(planted):
    row = Lock.objects.using("planted").filter(name=scrubbing.NAME).first()
    return row and int(row.owner.split("/")[0])


def test_pages_that_change_their_places_begin_it_anew(planted, small_steps):
    """Otherwise a page of the end could come where the pass has been."""
    with pytest.raises(Stopped):
        planted.scrub(check_time=stops_after(5))
    assert next_page(planted) > 1
    planted.statements.write("DELETE FROM storage_chatinteraction WHERE rowid > 20", {})
    planted.database.reclaim()
    assert next_page(planted) is None
    with pytest.raises(Stopped):
        planted.scrub(check_time=stops_after(5))
    at = next_page(planted)
    with closing(connect(planted.file)) as connection, connection:
        connection.execute("CREATE TABLE another (id)")
    with pytest.raises(Stopped):
        planted.scrub(check_time=stops_after(2))
    assert 1 < next_page(planted) < at
    planted.scrub()
    assert planted.found() == 0


# Kills.


class Killed(BaseException):
    pass


class Calls:
    """What leaves the process, call by call; one of them is the last."""

    def __init__(self, monkeypatch):
        self.last = None
        self.count = 0
        for name in ("pwrite", "fsync", "pread"):
            monkeypatch.setattr(scrubbing.os, name, self._counted(getattr(os, name)))
        connect = scrubbing._connect
        monkeypatch.setattr(scrubbing, "_connect", lambda file: Watched(connect(file), self))
        note = scrubbing._Pass._note
        monkeypatch.setattr(scrubbing._Pass, "_note", self._counted(note))
        monkeypatch.setattr(scrubbing, "empty_log", self._counted(scrubbing.empty_log))
        monkeypatch.setattr(scrubbing, "end_pass", self._counted(scrubbing.end_pass))

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
        calls = Calls(m)
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
    Lock.objects.using("planted").all().delete()
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
