"""The search index finds what a look at everything finds, and lets go of what is gone."""

import json
import logging
import os
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import ANY

import pytest
from django.db import connection

from chat.maintenance import holds
from chat.maintenance.erasure import ledger
from chat.maintenance.holds import Hold
from chat.maintenance.runs import OutOfTime, Run
from config.lines import Lines
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.compat import batched, zstd
from storage.database import Indexed
from storage.exceptions import DamagedArchive, StorageError, StorageUnavailable
from storage.models import TextChange
from storage.sqlite import text_index, text_newest, text_parts, text_passes
from tests.chat.lines import command
from tests.sqlite import connect
from tests.storage.sqlite.searched import (
    catch_up,
    check,
    everything,
    find,
    moments,
    to_archive,
)


@pytest.fixture
def fill(indexed, make_interaction):
    """Saves so many interactions, each with words of its own, of two users."""

    def fill(count, start=0):
        rows = [
            make_interaction(
                interaction_id=f"i{number:04}",
                user_id=("ada", "bob")[number % 2],
                message=f"wall{number} wood",
                response=f"worte{number % 7} Wärme",
                **moments(number),
            )
            for number in range(start, start + count)
        ]
        indexed.create_interactions_sync(rows)
        return rows

    return fill


@pytest.fixture
def index_file():
    return Path(f"{os.path.realpath(connection.settings_dict['NAME'])}.search")


def test_a_text_is_found_by_its_words_in_either_field(indexed, make_interaction):
    texts = ["Straße in Berlin", "the strasse", "東京タワー", "x = 5; y_1"]
    for number, message in enumerate(texts):
        row = make_interaction(interaction_id=f"i{number}", message=message, **moments(number))
        indexed.save_interaction_sync(row)
    assert set(find(indexed, "STRASSE")) == {"i0", "i1"}
    assert find(indexed, "stra ber") == ["i0"]
    assert find(indexed, "東京") == ["i2"]
    assert find(indexed, "5 y") == ["i3"]
    assert find(indexed, "assen") == find(indexed, "strasse", user_id="bob") == []
    assert find(indexed, "tree", user_id="ada") == ["i3", "i2", "i1", "i0"]


def test_pages_are_in_the_order_of_lists_at_equal_times_too(indexed, fill):
    rows = fill(150)
    expected = sorted((row.position for row in rows), reverse=True)
    for limit in (1, 7, 150):
        found, before = [], None
        while page := indexed.database.find_text([("w",)], None, expected[-1][0], before, limit):
            found += page
            before = page[-1]
            assert len(page) == limit or len(found) == 150
        assert found == expected
    after, before = expected[90][0], expected[20]
    of_period = [position for position in expected if after <= position[0] and position < before]
    assert indexed.database.find_text([("w",)], None, after, before, 999) == of_period
    mine = [row.position for row in rows if row.user_id == "ada" and row.position in of_period]
    found = indexed.database.find_text([("w",)], "ada", after, before, 999)
    assert found == sorted(mine, reverse=True)


@pytest.mark.parametrize("user_id", [None, "ada"])
@pytest.mark.parametrize("word", ["w", "worte1", "wall2"])
def test_a_page_of_a_common_word_is_that_of_fts5(indexed, fill, monkeypatch, word, user_id):
    expected = [row.position for row in fill(150)]
    beginning, last = min(expected)[0], max(expected)
    asked = ([(word,)], user_id, beginning, last)
    in_fts5 = {}
    catch_up(indexed)
    for looked_at in (0, 30, 200):
        monkeypatch.setattr(text_parts, "LOOKED_AT", looked_at)
        monkeypatch.setattr(text_newest, "LOOKED_AT", looked_at)
        monkeypatch.setattr(text_newest, "SAMPLE", 4)
        for limit in (1, 20, 100):
            found = indexed.database.find_text(*asked, limit)
            assert found == in_fts5.setdefault(limit, found)


def test_common_words_are_not_looked_up(indexed, fill, monkeypatch):
    def looked_up(*_):
        raise AssertionError

    fill(60)
    catch_up(indexed)
    monkeypatch.setattr(text_parts.Parts, "_found_in", looked_up)
    assert len(find(indexed, "w", limit=40)) == 40
    with pytest.raises(AssertionError):
        find(indexed, "wall5", limit=5)  # eleven have it, and none of the newest


def test_what_was_acknowledged_is_found_at_once_and_what_is_gone_is_not(indexed, fill, monkeypatch):
    fill(10)
    catch_up(indexed)
    monkeypatch.setattr(text_index, "PENDING_AT_MOST", 5)
    before = TextChange.objects.count()
    fill(1, start=100)
    indexed.update_interaction_sync("i0003", {"response": "neuerdings"})
    indexed.delete_interaction_sync("i0004")
    assert TextChange.objects.count() == before + 3  # nobody has indexed it yet
    assert {"i0100", "i0003"} <= set(find(indexed, "wall100")) | set(find(indexed, "neuerdings"))
    monkeypatch.setattr(text_index, "PENDING_AT_MOST", 0)
    assert find(indexed, "neuerdings") == ["i0003"]
    assert "i0003" not in find(indexed, "worte3")
    assert find(indexed, "wall4") == []
    assert not TextChange.objects.exists()
    check(indexed)


def test_a_search_whose_pass_took_long_uses_what_it_has_done(indexed, fill, monkeypatch):
    fill(10)
    monkeypatch.setattr(text_index, "SEARCH_SECONDS", 0)
    assert find(indexed, "wood") is None  # the index is only begun
    catch_up(indexed)
    fill(1, start=100)
    assert find(indexed, "wall100") == ["i0100"]


def test_what_is_archived_is_found_and_what_is_purged_is_not(indexed, fill):
    rows = fill(60)
    to_archive(indexed, rows[:40])  # before any pass
    catch_up(indexed)
    check(indexed)
    stub = indexed.database.stubs(["i0001"])["i0001"]
    indexed.return_from_cold([rows[1]], stub.segment)
    indexed.update_interaction_sync("i0001", {"response": "wieder"})
    indexed.delete_interaction_sync("i0002")
    check(indexed)
    assert find(indexed, "wieder") == ["i0001"]
    until = rows[20].created_at + timedelta(days=10)
    indexed.database.remove_expired(indexed.oldest(until, 100), until)
    indexed.database.remove_expired_stubs(until, 100)
    check(indexed)


def test_many_deletions_in_a_part_rewrite_it_and_few_do_not(indexed, fill, monkeypatch):
    monkeypatch.setattr(text_parts, "ONE_BY_ONE", 3)
    rows = fill(200)
    catch_up(indexed)
    first_day = [row for row in rows if row.created_at.date() == rows[0].created_at.date()]
    for some in (first_day[:1], first_day[1:3], first_day[3:]):
        indexed.database.remove_of_user([row for row in some if row.user_id == "ada"], "ada")
        indexed.database.remove_of_user([row for row in some if row.user_id == "bob"], "bob")
        check(indexed)


def test_many_deletions_that_come_together_rewrite_a_part_once(indexed, fill, monkeypatch):
    """In passes of a few it would be written anew for each, and then for one user's rows too."""
    monkeypatch.setattr(text_passes, "CHANGES_AT_ONCE", 5)
    rewritten = []
    rewrite = text_parts.Parts._rewrite
    monkeypatch.setattr(
        text_parts.Parts, "_rewrite", lambda *args: rewritten.append(args[1]) or rewrite(*args)
    )
    rows = fill(400)
    catch_up(indexed)
    monkeypatch.setattr(text_passes, "PASS_CHANGES", 5)
    gone = [row for row in rows if row.user_id == "ada"]
    for some in batched(gone, 50):
        indexed.database.remove_of_user(some, "ada")
    catch_up(indexed)
    assert len(rewritten) == len(set(rewritten)) > 1
    check(indexed)


def test_a_user_is_taken_out_of_the_index_before_the_rows_go(indexed, fill):
    rows = fill(100)
    catch_up(indexed)
    indexed.database.before_erasing("ada", lambda: None)
    assert set(find(indexed, "wood")) == {row.interaction_id for row in rows[1::2]}
    indexed.database.remove_of_user(rows[::2], "ada")
    catch_up(indexed)
    check(indexed)


def test_what_is_deleted_while_it_is_about_to_be_archived_is_not_indexed_again(indexed, fill):
    rows = fill(3)
    catch_up(indexed)
    assert indexed.delete_interaction_sync("i0001")
    to_archive(indexed, rows)
    catch_up(indexed)
    assert find(indexed, "wall1") == []
    check(indexed)


def test_what_was_changed_is_archived_with_its_words_by_an_index_that_is_far_behind(
    indexed, fill, monkeypatch
):
    """After the pass that finds it archived, nobody would look at its text again."""
    fill(20)
    catch_up(indexed)
    fill(10, start=100)
    changed = indexed.update_interaction_sync("i0003", {"response": "neuerdings"})
    monkeypatch.setattr(text_index, "WAIT_SECONDS", 0)
    monkeypatch.setattr(text_passes, "CHANGES_AT_ONCE", 1)
    monkeypatch.setattr(text_passes, "PASS_CHANGES", 1)
    to_archive(indexed, [changed])
    assert find(indexed, "neuerdings") == ["i0003"]
    check(indexed)


def test_taking_a_user_out_ends_in_time_and_goes_on(indexed, fill):
    rows = fill(400)
    catch_up(indexed)
    checks = []

    def fifth_time():
        checks.append(None)
        if len(checks) == 5:
            raise OutOfTime

    with pytest.raises(OutOfTime):
        indexed.database.before_erasing("ada", fifth_time)
    others = {row.interaction_id for row in rows[1::2]}
    assert others < set(find(indexed, "wood")) < {row.interaction_id for row in rows}
    indexed.database.before_erasing("ada", lambda: None)
    assert set(find(indexed, "wood")) == others


class Killed(BaseException):
    """The process has died here."""


def test_what_a_killed_erasure_has_taken_out_is_found_again_if_the_user_is_held_now(
    indexed, fill, monkeypatch
):
    def die(*_):
        raise Killed

    with Run(indexed):
        to_archive(indexed, fill(20)[:4])
    catch_up(indexed)
    with monkeypatch.context() as killed:
        killed.setattr(type(indexed.database), "remove_of_user", die)
        with pytest.raises(Killed):
            command("erase_user", "ada")
    assert not {f"i{number:04}" for number in range(0, 20, 2)} & set(find(indexed, "wood"))
    holds.put(indexed.archive, Hold("user", "ada", "a case", datetime.now(UTC)))
    assert "legal hold" in command("erase_user", "--pending")[2]
    assert catch_up(indexed) is Indexed.LACKS_ARCHIVED
    assert command("archive_interactions")[0] == 0
    check(indexed)
    assert "legal hold" in command("erase_user", "--pending")[2]
    assert not TextChange.objects.exists(), "once is enough"


def test_what_it_has_taken_out_is_found_again_also_if_the_same_hold_has_refused_it_before(
    indexed, fill, monkeypatch
):
    def die(*_):
        raise Killed

    fill(6)
    catch_up(indexed)
    ledger.request(indexed.archive, "ada")
    hold = Hold("user", "ada", "a case", datetime.now(UTC))
    holds.put(indexed.archive, hold)
    assert "legal hold" in command("erase_user", "--pending")[2]
    holds.lift(indexed.archive, hold)
    with monkeypatch.context() as killed:
        killed.setattr(type(indexed.database), "remove_of_user", die)
        with pytest.raises(Killed):
            command("erase_user", "--pending")
    holds.put(indexed.archive, hold)
    assert "legal hold" in command("erase_user", "--pending")[2]
    catch_up(indexed)
    check(indexed)


def test_an_erasure_of_what_is_left_ends_in_time_and_goes_on(indexed, fill, monkeypatch):
    rows = fill(60)
    catch_up(indexed)
    indexed.erase_hot([row for row in rows if row.user_id == "ada"], "ada")
    monkeypatch.setattr(text_passes, "PASS_REMOVALS", 10)
    monkeypatch.setattr(text_passes, "CHANGES_AT_ONCE", 5)
    checks = []

    def third_time():
        checks.append(None)
        if len(checks) == 3:
            raise OutOfTime

    with pytest.raises(OutOfTime):
        indexed.forget_user("ada", third_time)
    assert TextChange.objects.count() == 10
    indexed.forget_user("ada")
    assert not TextChange.objects.exists()
    check(indexed)


def test_an_erasure_waits_for_passes_of_another_process_that_come_forward(
    indexed, fill, monkeypatch
):
    """Each pass of the other is as long as is waited, but there is less to do after each."""
    rows = fill(60)
    catch_up(indexed)
    indexed.erase_hot([row for row in rows if row.user_id == "ada"], "ada")
    monkeypatch.setattr(text_passes, "PASS_REMOVALS", 10)
    monkeypatch.setattr(text_index, "WAIT_SECONDS", 0.0)
    take = text_passes.Passes.take

    def taken_by_another(passes, wait):
        with closing(sqlite3.connect(passes.file.path, isolation_level=None)) as other:
            take(passes, wait)
            other.execute("BEGIN IMMEDIATE")
            return take(passes, wait)

    monkeypatch.setattr(text_passes.Passes, "take", taken_by_another)
    indexed.forget_user("ada")
    assert not TextChange.objects.exists()


# An index that is lost, damaged, or of another database.


def test_a_file_that_is_deleted_is_made_again(indexed, fill, index_file):
    fill(250)
    check(indexed)
    for name in index_file.parent.glob(f"{index_file.name}*"):
        name.unlink()
    fill(1, start=300)
    assert catch_up(indexed) is Indexed.COMPLETE
    check(indexed)


@pytest.mark.parametrize("keeps", [0, 100, 5000])
def test_a_damaged_file_fails_nobody_and_is_made_again(indexed, fill, index_file, keeps, caplog):
    fill(50)
    catch_up(indexed)
    with closing(connect(index_file)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = index_file.read_bytes()
    index_file.write_bytes(content[:keeps] + b"\xff" * (len(content) - keeps))
    assert find(indexed, "wall1") in (None, []) or find(indexed, "wall1") == ["i0001"]
    fill(1, start=60)
    for _ in range(3):
        try:
            catch_up(indexed)
        except (sqlite3.Error, StorageError):
            continue
    assert set(find(indexed, "wall60")) == {"i0060"}
    check(indexed)


@pytest.mark.parametrize("anew", [False, True])
def test_the_error_of_a_run_is_about_the_index_and_not_about_the_database(
    indexed, fill, index_file, anew
):
    """Else somebody might restore a backup of a database that is sound."""
    to_archive(indexed, fill(50)[:1])
    catch_up(indexed)
    with closing(connect(index_file)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    index_file.write_bytes(b"\xff" * 8192)
    with pytest.raises(StorageUnavailable, match="search index was damaged, and is deleted"):
        indexed.database.index_texts(1, anew=anew)
    assert indexed.database.index_texts(300, anew=anew) is Indexed.LACKS_ARCHIVED
    index_file.unlink()
    index_file.mkdir()
    try:
        for use in (
            lambda: indexed.database.index_texts(1, anew=anew),
            lambda: indexed.database.index_archived([]),
            indexed.database.segments_to_index,
        ):
            with pytest.raises(StorageUnavailable, match="search index failed: unable to open"):
                use()
    finally:
        index_file.rmdir()


def test_words_that_cannot_be_unpacked_are_damage_that_sqlite_does_not_notice(
    indexed, fill, index_file
):
    fill(50)
    catch_up(indexed)
    with closing(connect(index_file)) as raw, raw:
        raw.execute("UPDATE entry SET words = x'00'")
    assert find(indexed, "w", limit=20) is None
    assert not index_file.exists()
    check(indexed)
    with closing(connect(index_file)) as raw, raw:
        raw.execute("UPDATE entry SET words = x'00'")
    indexed.update_interaction_sync("i0003", {"response": "neuerdings"})
    with pytest.raises(StorageError):
        catch_up(indexed)
    check(indexed)


@pytest.mark.parametrize("page", ["", "0000000400", "0000000500ff", "000000060000ff01"])
def test_a_page_of_words_that_cannot_be_read_is_damage_for_an_erasure_too(
    indexed, fill, index_file, page
):
    """SQLite keeps the pages of FTS5 as they are, and has no checksums."""
    fill(200)
    catch_up(indexed)
    with closing(connect(index_file)) as raw, raw:
        ((number,),) = raw.execute("SELECT max(number) FROM part")
        raw.execute(
            f"UPDATE part_{number}_data SET block = ? WHERE id > 100", [bytes.fromhex(page)]
        )
        changed = raw.execute(f"UPDATE part_{number}_idx SET term = 'w' || term").rowcount
    assert changed
    indexed.database.scrub()
    assert not index_file.exists()
    check(indexed)


def test_a_database_that_was_put_back_has_its_index_made_anew(indexed, fill, tmp_path):
    fill(5)
    catch_up(indexed)
    name = connection.settings_dict["NAME"]
    with closing(connect(name)) as source, closing(connect(tmp_path / "copy")) as copy:
        source.backup(copy)
    indexed.update_interaction_sync("i0001", {"response": "later"})
    catch_up(indexed)  # one pass has gone on since the copy
    with closing(connect(tmp_path / "copy")) as copy, closing(connect(name)) as target:
        copy.backup(target)
    assert everything(indexed)["i0001"].response == "worte1 Wärme"
    assert find(indexed, "later") == []
    check(indexed)


def test_what_was_archived_before_there_was_an_index_is_read_from_the_archive(
    indexed, fill, monkeypatch
):
    from chat.maintenance import search_index

    monkeypatch.setattr(text_index, "ENABLED", False)
    rows = fill(30)
    to_archive(indexed, rows[:20])
    monkeypatch.setattr(text_index, "ENABLED", True)
    assert find(indexed, "wall25") is None
    assert catch_up(indexed) is Indexed.LACKS_ARCHIVED
    report = search_index.Rebuilt()
    with Run(indexed, lock=False) as run:
        search_index.rebuild(indexed, run, report, anew=False)
    assert report == search_index.Rebuilt(archived=20, is_complete=True)
    check(indexed)


@pytest.mark.parametrize("lacks", [False, True], ids=["complete", "lacks archived ones"])
def test_a_pass_of_another_process_fails_no_run(indexed, fill, index_file, monkeypatch, lacks):
    """Servers make passes while the nightly run or `rebuild_search` looks at the index."""
    from chat.maintenance import search_index

    monkeypatch.setattr(text_index, "ENABLED", not lacks)
    to_archive(indexed, fill(3))
    monkeypatch.setattr(text_index, "ENABLED", True)
    catch_up(indexed)
    fill(3, start=10)
    with closing(connect(index_file, isolation_level=None)) as server:
        server.execute("BEGIN IMMEDIATE")
        expected = Indexed.LACKS_ARCHIVED if lacks else Indexed.BEHIND
        assert indexed.database.index_texts(0) is expected
    with Run(indexed, lock=False) as run:
        search_index.complete(indexed, run)
    assert catch_up(indexed) is Indexed.COMPLETE
    check(indexed)


@pytest.mark.parametrize("name", ["archive_interactions", "rebuild_search"])
def test_a_dry_run_neither_begins_an_index_nor_goes_on_with_one(indexed, fill, index_file, name):
    def dry_run():
        status, said, errors = command(name, "--dry-run")
        assert status == 0, errors
        return json.loads(said)

    fill(3)
    changes = TextChange.objects.count()
    told = dry_run()
    assert not index_file.exists()
    assert TextChange.objects.count() == changes
    catch_up(indexed)
    assert dry_run() == told | {"seconds": ANY} | (
        {"is_complete": True} if name == "rebuild_search" else {}
    )
    fill(3, start=10)
    dry_run()
    assert TextChange.objects.count() == 3
    assert indexed.database.texts_indexed() is Indexed.BEHIND
    assert catch_up(indexed) is indexed.database.texts_indexed() is Indexed.COMPLETE


def test_a_damaged_segment_keeps_no_other_from_being_indexed(indexed, fill, monkeypatch):
    from chat.maintenance import search_index

    monkeypatch.setattr(text_index, "ENABLED", False)
    to_archive(indexed, fill(3))
    monkeypatch.setattr(text_index, "ENABLED", True)
    damaged = indexed.archive.manifest(next(indexed.archive.all_segments())).data
    indexed.archive.files.write(damaged, b"damaged")
    rows, read = indexed.archive.rows, []
    monkeypatch.setattr(indexed.archive, "rows", lambda name: read.append(name) or rows(name))
    for archived, segments in ((2, 3), (0, 1)):
        report = search_index.Rebuilt()
        with (
            Run(indexed, lock=False) as run,
            pytest.raises(DamagedArchive, match=re.escape(damaged)),
        ):
            search_index.rebuild(indexed, run, report, anew=False)
        assert report == search_index.Rebuilt(archived=archived, is_complete=False)
        assert len(read) == segments, "what was indexed is not read again each night"
        read.clear()


def test_it_is_not_emptied_while_the_archive_is_not_there(indexed, fill, tmp_path, monkeypatch):
    """What is archived could not be read, and all searches would go without it."""
    from chat.maintenance import search_index
    from chat.maintenance.identity import ArchiveMismatch

    with Run(indexed):
        to_archive(indexed, fill(3))
    assert catch_up(indexed) is Indexed.COMPLETE
    monkeypatch.setattr(indexed, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    with Run(indexed, lock=False) as run, pytest.raises(ArchiveMismatch):
        search_index.rebuild(indexed, run, search_index.Rebuilt(), anew=True)
    assert catch_up(indexed) is Indexed.COMPLETE


@pytest.fixture
def large(indexed, make_interaction):
    catch_up(indexed)
    row = make_interaction(interaction_id="large", message="w " * 100_000, **moments(0))
    indexed.save_interaction_sync(row)
    return row


def test_damage_does_not_keep_the_nightly_run_from_completing_the_index(
    indexed, fill, make_interaction, monkeypatch
):
    monkeypatch.setattr(text_index, "ENABLED", False)
    with Run(indexed):
        to_archive(indexed, fill(3))
    row = make_interaction(interaction_id="large", message="w " * 100_000, **moments(0))
    indexed.save_interaction_sync(row)
    name = indexed.database.text_objects(["large"])["large"].name
    indexed.archive.files.write(name, b"damaged")
    monkeypatch.setattr(text_index, "ENABLED", True)
    assert catch_up(indexed) is Indexed.LACKS_ARCHIVED
    status, _, errors = command("archive_interactions")
    assert (status, name in errors) == (1, True)
    assert catch_up(indexed) is Indexed.COMPLETE


@pytest.fixture
def behind_the_next_look(monkeypatch):
    """Does something after the next pass has looked at rows, and before it fetches large texts."""
    look = text_passes.Passes.look

    def install(do):
        def look_late(passes, ids):
            found = look(passes, ids)
            monkeypatch.setattr(text_passes.Passes, "look", look)
            do()
            return found

        monkeypatch.setattr(text_passes.Passes, "look", look_late)

    return install


def test_a_large_text_that_is_archived_while_it_is_looked_at_counts_as_missing(
    indexed, large, behind_the_next_look, monkeypatch
):
    monkeypatch.setattr(text_index, "WAIT_SECONDS", 0)  # who archives it does not wait for the pass
    behind_the_next_look(lambda: to_archive(indexed, [large]))
    assert catch_up(indexed) is Indexed.LACKS_ARCHIVED
    indexed.database.index_archived([large])
    assert catch_up(indexed) is Indexed.COMPLETE
    check(indexed)


def test_a_large_text_that_is_saved_again_while_it_is_looked_at_is_indexed(
    indexed, large, behind_the_next_look
):
    behind_the_next_look(lambda: indexed.save_interaction_sync(large))
    assert catch_up(indexed) is Indexed.COMPLETE
    check(indexed)


def test_a_large_text_that_is_deleted_while_it_is_looked_at_is_not_indexed(
    indexed, large, behind_the_next_look
):
    behind_the_next_look(lambda: indexed.delete_interaction_sync("large"))
    assert catch_up(indexed) is Indexed.COMPLETE
    assert find(indexed, "w") == []


def test_a_library_that_cannot_keep_it_is_no_error(indexed, fill, monkeypatch, index_file, caplog):
    fill(3)
    catch_up(indexed)
    monkeypatch.setattr(text_index, "_missing_feature", lambda: "no such module: fts5")
    fill(3, start=10)
    assert find(indexed, "wall1") is None
    assert indexed.database.index_texts(1) is None
    indexed.forget_user("ada")
    assert not index_file.exists()
    assert not TextChange.objects.exists()


def test_writers_do_not_depend_on_the_file(indexed, fill, index_file, caplog):
    index_file.unlink(missing_ok=True)
    index_file.mkdir()
    try:
        fill(3)
        assert find(indexed, "wall1") is None
        assert indexed.get_interaction_sync("i0001") is not None
        with pytest.raises((StorageUnavailable, OSError)):
            indexed.forget_user("ada")  # nobody knows what is there
    finally:
        index_file.rmdir()
    check(indexed)


# Nothing is left.


def traces(index_file, marker):
    """Where in the files of the index a marker is, as it is or compressed."""
    found = set()
    for path in index_file.parent.glob(f"{index_file.name}*"):
        content = path.read_bytes()
        if marker.encode() in content:
            found.add("plain")
        for frame in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), content):
            try:
                text = zstd.ZstdDecompressor().decompress(
                    content[frame.start() : frame.start() + 4096]
                )
            except zstd.ZstdError:
                continue
            if marker.encode() in text:
                found.add("packed")
    return found


@pytest.mark.parametrize("secure_delete", [1, 0])
def test_no_word_of_an_erased_user_is_left_in_the_index(
    indexed, fill, make_interaction, index_file, monkeypatch, secure_delete
):
    """With FTS5's own default the words would still be there."""
    monkeypatch.setattr(text_parts, "SECURE_DELETE", secure_delete)
    monkeypatch.setattr(text_parts, "ONE_BY_ONE", 0)  # no part is written anew
    marker = "zq81marker"
    fill(40)
    mine = [
        make_interaction(
            interaction_id=f"{marker}-{number}",
            user_id=marker,
            message=f"{marker} w{marker}{number} " * 40,
            **moments(number),
        )
        for number in range(2000, 2080)
    ]
    indexed.create_interactions_sync(mine)
    catch_up(indexed)
    for start in range(100, 500, 100):
        fill(100, start=start)
        catch_up(indexed)
    assert traces(index_file, marker) == {"plain", "packed"}
    to_archive(indexed, mine[:3])
    catch_up(indexed)
    for segment in indexed.archive.all_segments():
        indexed.database.drop_stubs([row.interaction_id for row in mine], segment)
    indexed.erase_hot(mine, marker)
    indexed.forget_user(marker)
    assert not TextChange.objects.exists()
    indexed.database.scrub()
    if not secure_delete:
        assert traces(index_file, marker) == {"plain"}
        return
    assert traces(index_file, marker) == set()
    assert find(indexed, "wall333") == ["i0333"]
    assert find(indexed, marker) == []


def test_the_log_has_no_word_of_anybody(indexed, fill, index_file, caplog):
    with caplog.at_level(logging.DEBUG):
        fill(3)
        catch_up(indexed)
        index_file.write_bytes(b"no database " * 1000)
        find(indexed, "wall1")
    assert "wall" not in caplog.text
    assert "ada" not in caplog.text


BREAK = "UPDATE storage_chatinteraction SET message = CAST(X'736563726574FF' AS TEXT)"
"""What another program may do that writes a file in Latin-1."""


def break_text(interaction_id):
    with connection.cursor() as cursor:
        cursor.execute(f"{BREAK} WHERE interaction_id = %s", [interaction_id])


@pytest.mark.parametrize("anew", [False, True])
def test_a_text_that_another_program_has_broken_keeps_no_other_from_being_found(
    indexed, fill, caplog, anew
):
    fill(30)
    if not anew:
        catch_up(indexed)
    break_text("i0007")
    assert catch_up(indexed) is Indexed.COMPLETE
    fill(3, start=100)
    assert find(indexed, "wall101") == ["i0101"]
    assert find(indexed, "wall8") == ["i0008"]
    assert find(indexed, "wall7") == []
    assert len(find(indexed, "w")) == 32
    assert (
        "Not in the search index: i0007: Could not decode to UTF-8 column 'message'" in caplog.text
    )
    assert "secret" not in caplog.text


def test_a_mistake_of_ours_in_a_pass_is_logged_without_a_text(indexed, monkeypatch, caplog):
    def fail(*args):
        raise KeyError("what somebody has said")

    monkeypatch.setattr(text_passes.Passes, "take", fail)
    with pytest.raises(KeyError):
        indexed.database._texts._work()
    (record,) = caplog.records
    said = Lines().format(record)
    assert "The search index is not up to date." in said
    assert "in _work" in said
    assert "KeyError" in said
    assert "somebody" not in said
