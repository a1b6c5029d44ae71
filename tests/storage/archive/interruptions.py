"""Readers beside a writer, crashes at every operation, and what they leave."""

import threading

import pytest

from storage.archive.archive import Archive
from storage.archive.names import new_data
from storage.exceptions import DamagedArchive, StorageUnavailable
from tests.storage.archive.failing import Failing, each_crash
from tests.storage.archive.rows import DAY, START, fields, large_row, position, row


class OrphansContract:
    def test_files_that_no_manifest_names_are_orphans(self, archive, segment, written):
        left = [new_data(segment) for _ in range(3)]
        others = new_data(archive.new_segment(DAY))
        for name in (*left, others):
            archive.files.write(name, b"left by a crash")
        assert archive.orphans(segment) == sorted(left)
        assert archive.remove_orphans(segment) == 3
        assert archive.orphans(segment) == []
        assert archive.files.read(others) == b"left by a crash"
        assert fields(archive.rows(segment)) == fields(written)

    def test_a_manifest_that_cannot_be_read_keeps_its_rows(self, archive, segment, written):
        data = archive.manifest(segment).data
        archive.files.write(f"{segment}.json", b"damaged")
        with pytest.raises(StorageUnavailable):
            archive.remove_orphans(segment)
        assert archive.files.read(data)


class ReadersContract:
    def test_a_reader_goes_on_in_a_rewritten_segment(self, archive, segment, written):
        kept = written[:10] + written[60::2]
        newest = archive.newest(segment)
        read = [next(newest)]
        archive.write(segment, kept)
        read += newest
        assert fields(read[:1]) == fields(written[-1:])
        # What it had in memory already may have been dropped since.
        assert set(map(position, kept)) <= set(map(position, read)) <= set(map(position, written))
        assert fields(read) == sorted(fields(read), key=lambda each: each[7], reverse=True)

    def test_a_reader_of_a_removed_segment_ends(self, archive, segment, written):
        backwards = archive.newest(segment)
        next(backwards)
        archive.remove(segment)
        assert len(list(backwards)) < 30  # of one frame

    def test_readers_while_it_is_rewritten(self, archive, segment, written):
        stays = written[50]
        stop = threading.Event()
        problems = []

        def read():
            try:
                while not stop.is_set():
                    found = archive.find(segment, [position(stays)])
                    assert fields(found.values()) == fields([stays])
                    assert fields([stays])[0] in fields(archive.rows(segment))
                    assert stays in list(archive.newest(segment))
            except BaseException as error:
                problems.append(error)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(10):
            archive.write(
                segment,
                [
                    each
                    for each in written
                    if each is stays or (int(each.interaction_id[1:]) % 20) > number
                ],
            )
        stop.set()
        for reader in readers:
            reader.join()
        assert problems == []


class CrashesContract:
    def test_a_crash_leaves_the_old_rows_or_the_new(self, new_backend, ways):
        old, new = [large_row(number) for number in range(5)], [row(1), row(2)]
        segment = Archive(None).new_segment(DAY)

        def prepare():
            backend = new_backend()
            Archive(backend).write(segment, old)
            return backend

        def write(failing):
            Archive(failing).write(segment, new)

        seen = set()
        for backend in each_crash(prepare, write, ways):
            archive = Archive(backend)
            count = archive.verify(segment).count
            assert fields(archive.rows(segment)) in (fields(old), fields(new))
            seen.add((count, len(archive.orphans(segment))))
            archive.remove_orphans(segment)
            assert archive.orphans(segment) == []
            assert archive.verify(segment).count == count
            assert len(backend.listdir(DAY.isoformat())[1]) == 2
            archive.write(segment, new)
            assert fields(archive.rows(segment)) == fields(new)
        assert seen == {(5, 0), (5, 1), (2, 1), (2, 0)}

    def test_a_crash_leaves_nothing_or_the_new(self, new_backend, ways):
        rows = [row(1), row(2)]
        segment = Archive(None).new_segment(DAY)
        seen = set()
        for backend in each_crash(
            new_backend, lambda failing: Archive(failing).write(segment, rows), ways
        ):
            archive = Archive(backend)
            found = fields(archive.rows(segment))
            assert found in ([], fields(rows))
            seen.add((len(found), len(archive.orphans(segment))))
            archive.remove_orphans(segment)
            assert fields(archive.rows(segment)) == found
            if not found:
                assert backend.listdir("") == ([], [])
        assert seen == {(0, 0), (0, 1), (2, 0)}

    def test_a_crash_while_removing_leaves_all_or_nothing(self, new_backend, ways):
        rows = [row(1), row(2)]
        segment = Archive(None).new_segment(DAY)

        def prepare():
            backend = new_backend()
            Archive(backend).write(segment, rows)
            return backend

        def remove(failing):
            Archive(failing).remove(segment)

        for backend in each_crash(prepare, remove, ways):
            archive = Archive(backend)
            assert fields(archive.rows(segment)) in ([], fields(rows))
            archive.remove(segment)
            assert backend.listdir("") == ([], [])

    @pytest.mark.parametrize("meanwhile", [[row(2), row(3)], []], ids=["rewritten", "removed"])
    def test_what_another_has_written_meanwhile_stays(self, archive, segment, meanwhile):
        """As when the first has lost its lock and does not know."""

        def rows():
            yield row(1)
            archive.write(segment, meanwhile)
            yield row(4)

        archive.write(segment, [row(0)])
        with pytest.raises(StorageUnavailable, match="by another run"):
            archive.write(segment, rows())
        archive.verify(segment)
        assert archive.orphans(segment) == []
        assert fields(archive.rows(segment)) == fields(meanwhile)

    def test_a_writer_whose_file_another_has_removed_commits_nothing(
        self, archive, segment, monkeypatch
    ):
        archive.write(segment, [row(0)])
        write = archive.files.write

        def write_slowly(name, content):
            write(name, content)
            archive.remove_orphans(segment)

        monkeypatch.setattr(archive.files, "write", write_slowly)
        with pytest.raises(StorageUnavailable, match="was deleted before"):
            archive.write(segment, [row(1)])
        monkeypatch.undo()
        assert fields(archive.rows(segment)) == fields([row(0)])


class TroubleContract:
    @pytest.mark.parametrize("left", [0, 1, 1000])
    def test_rows_that_are_cut_off_are_damage(self, archive, segment, written, left):
        data = archive.manifest(segment).data
        archive.files.write(data, archive.files.read(data, 0, left))
        for call in (
            lambda: archive.verify(segment),
            lambda: list(archive.rows(segment)),
            lambda: next(archive.newest(segment)),
            lambda: archive.find(segment, [position(written[99])]),
        ):
            with pytest.raises(DamagedArchive, match=data):
                call()

    def test_an_empty_file_is_read_as_such(self, archive, segment):
        marker = archive.mark(segment)
        assert archive.files.read(marker) == archive.files.read(marker, 5, 5) == b""
        assert archive.files.read(f"{marker}0") is None

    def test_every_operation_says_that_the_archive_is_away(self, backend, segment):
        archive = Archive(Failing(backend, 1, after=False, once=False))
        for call in (
            lambda: archive.manifest(segment),
            lambda: archive.find(segment, [(START, "i")]),
            lambda: list(archive.rows(segment)),
            lambda: list(archive.newest(segment)),
            lambda: archive.write(segment, [row(0)]),
            lambda: archive.remove(segment),
            lambda: archive.days(),
            lambda: archive.segments(DAY),
            lambda: archive.mark(segment),
            lambda: archive.marked(),
            lambda: archive.unmark(["pending/x"]),
            lambda: archive.remove_orphans(segment),
            lambda: archive.verify(segment),
            lambda: archive.tidy(),
        ):
            with pytest.raises(StorageUnavailable, match="Check ARCHIVE_DIR or ARCHIVE_BUCKET"):
                call()
