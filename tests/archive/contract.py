"""What an archive owes, wherever its files are."""

import json
import threading
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from storage.archive import reader as reader_module
from storage.archive.archive import Archive
from storage.archive.names import new_data
from storage.exceptions import StorageUnavailable
from tests.archive.crashes import Failing, each_crash
from tests.archive.rows import (
    DAY,
    ODD_TEXTS,
    START,
    fields,
    large_row,
    position,
    row,
)

TEXT_MAX = 390_000


class ArchiveContract:
    """A test class inherits this and has a fixture `new_backend`, which makes Django storages
    with nothing in them.

    Nothing here may know which it is.
    """

    @pytest.fixture
    def backend(self, new_backend):
        return new_backend()

    @pytest.fixture
    def archive(self, backend):
        return Archive(backend)

    @pytest.fixture
    def segment(self, archive):
        return archive.new_segment(DAY)

    @pytest.fixture
    def written(self, archive, segment):
        """The rows of a segment of several frames."""
        rows = [large_row(number) for number in range(100)]
        assert len(archive.write(segment, rows).frames) > 5
        return rows

    # Round trips.

    def test_rows_come_back_as_they_were(self, archive, segment):
        rows = [row(number, message=text) for number, text in enumerate(ODD_TEXTS)]
        rows += [
            row(10 + number, user_id=f"x{text}", response=text)
            for number, text in enumerate(ODD_TEXTS)
        ]
        manifest = archive.write(segment, rows)
        assert fields(archive.rows(segment)) == fields(rows)
        assert (manifest.count, manifest.oldest, manifest.newest) == (
            len(rows),
            rows[0].created_at,
            rows[-1].created_at,
        )
        assert archive.manifest(segment) == manifest

    def test_times_come_back_to_the_microsecond_and_in_utc(self, archive, segment):
        zone = timezone(timedelta(hours=5, minutes=45))
        times = [
            START,
            START + timedelta(microseconds=1),
            (START + timedelta(hours=9, microseconds=500_000)).astimezone(zone),
            START + timedelta(days=1, microseconds=-1),
        ]
        rows = [row(number, created_at=time) for number, time in enumerate(times)]
        archive.write(segment, rows)
        assert fields(archive.rows(segment)) == fields(rows)
        assert {each.created_at.tzinfo for each in archive.rows(segment)} == {UTC}

    def test_the_largest_row_is_a_frame_alone(self, archive, segment):
        rows = [
            row(0),
            row(1, message="\x01" * TEXT_MAX),
            row(2, message="é" * (TEXT_MAX // 2)),
            row(3),
        ]
        manifest = archive.write(segment, rows)
        assert [frame.count for frame in manifest.frames] == [1, 1, 1, 1]
        assert fields(archive.rows(segment)) == fields(rows)
        for each in rows:
            assert fields(archive.find(segment, [position(each)]).values()) == fields([each])

    def test_rows_of_one_time_are_in_the_order_of_their_ids(self, archive, segment):
        ids = sorted(["a", "B", "é", "z", "\uffff", "\U0001f600", "aa"])
        rows = [row(0, interaction_id=name, created_at=START) for name in ids]
        archive.write(segment, rows)
        assert fields(archive.rows(segment)) == fields(rows)
        assert list(archive.find(segment, [(START, name) for name in ids])) == ids
        assert fields(archive.newest(segment, (START, "z"))) == fields(
            reversed([each for each in rows if each.interaction_id < "z"])
        )

    def test_frames_with_rows_of_one_time(self, archive, segment):
        rows = [large_row(number) for number in range(60)]
        for each in rows:
            each.created_at = START
        assert len(archive.write(segment, rows).frames) > 3
        found = archive.find(segment, [position(each) for each in rows])
        assert fields(found.values()) == fields(rows)
        for number in (1, 30, 59):
            before = list(archive.newest(segment, position(rows[number])))
            assert fields(before) == fields(reversed(rows[:number]))

    # What is written.

    def test_what_is_not_in_order_is_refused(self, archive, segment):
        for rows in (
            [row(1), row(0)],
            [row(0), row(0)],
            [
                row(0, interaction_id="b", created_at=START),
                row(0, interaction_id="a", created_at=START),
            ],
        ):
            with pytest.raises(ValueError, match="by time and id"):
                archive.write(segment, rows)
        assert archive.manifest(segment) is None
        assert archive.days() == []

    @pytest.mark.parametrize(
        "created_at", [START - timedelta(microseconds=1), START + timedelta(days=1)]
    )
    def test_a_row_of_another_day_is_refused(self, archive, segment, created_at):
        with pytest.raises(ValueError, match="not created on 2026-10-23"):
            archive.write(segment, [row(0, created_at=created_at)])

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "2026-10-23",
            "2026-10-23/..",
            "../2026-10-23/01a207ac-ee83-70aa-af86-51ee41906f58",
            "2026-10-23/../01a207ac-ee83-70aa-af86-51ee41906f58",
            "2026-10-23/01A207AC-EE83-70AA-AF86-51EE41906F58",
            "2026-13-23/01a207ac-ee83-70aa-af86-51ee41906f58",
            "2026-10-23/01a207ac-ee83-70aa-af86-51ee41906f58\n",
            "\uff12\uff10\uff12\uff16-10-23/01a207ac-ee83-70aa-af86-51ee41906f58",
            "/2026-10-23/01a207ac-ee83-70aa-af86-51ee41906f58",
        ],
    )
    def test_what_is_not_the_name_of_a_segment_is_refused(self, archive, name):
        for call in (
            archive.manifest,
            archive.rows,
            archive.newest,
            archive.verify,
            archive.remove,
            archive.mark,
            archive.orphans,
            archive.remove_orphans,
            lambda name: archive.find(name, []),
            lambda name: archive.write(name, [row(0)]),
        ):
            with pytest.raises(ValueError):  # noqa: PT011
                call(name)

    def test_a_segment_that_is_not_there(self, archive, segment):
        assert archive.manifest(segment) is None
        assert archive.verify(segment) is None
        assert list(archive.rows(segment)) == []
        assert list(archive.newest(segment)) == []
        assert archive.find(segment, [(START, "i")]) == {}
        assert archive.orphans(segment) == []
        assert archive.remove_orphans(segment) == 0
        archive.remove(segment)

    def test_a_rewritten_segment_has_its_new_rows_only(self, archive, segment, written, backend):
        before = archive.manifest(segment)
        kept = written[::3]
        manifest = archive.write(segment, (each for each in archive.rows(segment) if each in kept))
        assert manifest.data != before.data
        assert fields(archive.rows(segment)) == fields(kept)
        assert archive.verify(segment) == manifest
        assert archive.orphans(segment) == []
        assert len(backend.listdir(DAY.isoformat())[1]) == 2

    def test_a_segment_without_rows_is_removed(self, archive, segment, written, backend):
        assert archive.write(segment, []) is None
        assert archive.manifest(segment) is None
        assert backend.listdir(DAY.isoformat()) == ([], [])
        assert archive.write(segment, []) is None

    def test_a_writing_that_fails_changes_nothing(self, archive, segment, written):
        def rows():
            yield row(0)
            raise StorageUnavailable("later")

        with pytest.raises(StorageUnavailable):
            archive.write(segment, rows())
        assert fields(archive.rows(segment)) == fields(written)
        assert archive.orphans(segment) == []

    def test_a_removed_segment_leaves_nothing(self, archive, segment, written, backend):
        other = archive.new_segment(DAY)
        archive.write(other, [row(0)])
        archive.files.write(new_data(segment), b"left by a crash")
        archive.remove(segment)
        assert archive.segments(DAY) == [other]
        assert len(backend.listdir(DAY.isoformat())[1]) == 2
        archive.remove(other)
        assert backend.listdir("") == ([], [])
        assert archive.days() == []

    # Reading parts.

    def test_some_rows_are_found_by_time_and_id(self, archive, segment, written):
        wanted = [position(each) for each in (written[99], written[0], written[50])]
        assert fields(archive.find(segment, wanted).values()) == fields(
            [written[0], written[50], written[99]]
        )

    def test_what_the_segment_has_not_is_not_found(self, archive, segment, written):
        absent = [
            (START - timedelta(days=1), "i000000"),
            (START + timedelta(days=2), "i000000"),
            (written[5].created_at, "i000006"),
            (written[6].created_at, "i000005"),
            (written[5].created_at + timedelta(microseconds=1), "i000005"),
        ]
        assert archive.find(segment, absent) == {}
        assert list(archive.find(segment, [*absent, position(written[5])])) == ["i000005"]

    def test_newest_first_from_a_position(self, archive, segment, written):
        assert fields(archive.newest(segment)) == fields(reversed(written))
        for number in (0, 1, 50, 99):
            found = archive.newest(segment, position(written[number]))
            assert fields(found) == fields(reversed(written[:number]))
        assert fields(archive.newest(segment, (START + timedelta(days=9), ""))) == fields(
            reversed(written)
        )
        since = written[90].created_at
        assert fields(archive.newest(segment, after=since)) == fields(reversed(written[90:]))

    def test_one_row_costs_one_frame(self, archive, segment, written, reads):
        manifest = archive.manifest(segment)
        reads.clear()
        assert archive.find(segment, [position(written[50])])
        assert len(reads) == 2  # the manifest and the frame
        (name, count) = reads[1]
        assert name == manifest.data
        assert count == manifest.frames[manifest.frame_of(position(written[50]))].length
        assert count < manifest.bytes / 5

    def test_the_first_of_the_newest_cost_one_frame(self, archive, segment, written, reads):
        manifest = archive.manifest(segment)
        reads.clear()
        next(archive.newest(segment))
        assert [name for name, _ in reads] == [segment + ".json", manifest.data]
        assert reads[1][1] == manifest.frames[-1].length

    def test_what_is_not_there_costs_no_frame(self, archive, segment, written, reads):
        reads.clear()
        assert archive.find(segment, [(START - timedelta(days=1), "i")]) == {}
        assert len(reads) == 1

    # Days and segments.

    def test_days_and_segments_are_sorted(self, archive):
        days = [date(2026, 12, 31), date(2027, 1, 1), date(2026, 2, 28), date(2028, 2, 29)]
        made = {day: [archive.new_segment(day) for _ in range(3)] for day in days}
        for day, segments in made.items():
            for segment in reversed(segments):
                created_at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
                archive.write(segment, [row(0, created_at=created_at)])
        assert archive.days() == sorted(days)
        for day, segments in made.items():
            assert archive.segments(day) == segments
        assert archive.segments(date(2026, 3, 1)) == []

    def test_other_files_are_no_segments(self, archive, segment, written, backend):
        for name in (
            "2026-10-23/notes.json",
            "2026-10-23/01a207ac.json",
            "2026-99-99/01a207ac-ee83-70aa-af86-51ee41906f58.json",
            "lost+found/x",
            "pending/x",
            "pending/2026-13-23.01a207ac-ee83-70aa-af86-51ee41906f58.0123456789abcdef",
            "README",
        ):
            archive.files.write(name, b"x")
        archive.remove_orphans(segment)
        assert archive.days() == [DAY]
        assert archive.segments(DAY) == [segment]
        assert archive.marked() == {}
        archive.remove(segment)
        assert "notes.json" in backend.listdir("2026-10-23")[1]

    # Markers.

    def test_markers_are_listed_and_taken_away_one_by_one(self, archive, segment):
        other = archive.new_segment(DAY)
        first, second, third = archive.mark(other), archive.mark(segment), archive.mark(segment)
        assert archive.marked() == {segment: sorted([second, third]), other: [first]}
        archive.unmark([second])
        assert archive.marked() == {segment: [third], other: [first]}
        archive.unmark([first, second, third])
        assert archive.marked() == {}
        assert archive.days() == []

    # Orphans.

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

    # Users.

    def test_a_manifest_tells_whose_rows_it_has_but_names_nobody(self, archive, segment):
        rows = [row(number, user_id=f"user {number % 3}") for number in range(10)]
        manifest = archive.write(segment, rows)
        assert sorted(manifest.users.values()) == [3, 3, 4]
        assert [manifest.may_hold(f"user {number}") for number in range(4)] == [True] * 3 + [False]
        text = archive.files.read(f"{segment}.json")
        assert b"user 1" not in text
        assert set(json.loads(text)["content"]["users"]) == set(manifest.users)

    # Readers beside a writer.

    def test_a_reader_goes_on_in_a_rewritten_segment(self, archive, segment, written, monkeypatch):
        monkeypatch.setattr(reader_module, "READ_BYTES", 1)  # each frame by itself
        kept = written[:10] + written[60::2]
        rows, newest = archive.rows(segment), archive.newest(segment)
        frame = archive.manifest(segment).frames[0].count
        read = [next(rows) for _ in range(frame)]
        last = archive.manifest(segment).frames[-1].count
        read_last = [next(newest) for _ in range(last)]
        archive.write(segment, kept)
        behind = [each for each in kept if position(each) > position(read[-1])]
        before = [each for each in reversed(kept) if position(each) < position(read_last[-1])]
        assert fields(read + list(rows)) == fields(written[:frame] + behind)
        assert fields(read_last + list(newest)) == fields(written[: -last - 1 : -1] + before)

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

        readers = [threading.Thread(target=read) for _ in range(3)]
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

    # Crashes.

    def test_a_crash_leaves_the_old_rows_or_the_new(self, new_backend):
        old, new = [large_row(number) for number in range(30)], [row(1), row(2)]
        segment = Archive(None).new_segment(DAY)

        def prepare():
            backend = new_backend()
            Archive(backend).write(segment, old)
            return backend

        seen = set()
        for backend in each_crash(prepare, lambda failing: Archive(failing).write(segment, new)):
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
        assert seen == {(30, 0), (30, 1), (2, 1), (2, 0)}

    def test_a_crash_leaves_nothing_or_the_new(self, new_backend):
        rows = [row(1), row(2)]
        segment = Archive(None).new_segment(DAY)
        seen = set()
        for backend in each_crash(
            new_backend, lambda failing: Archive(failing).write(segment, rows)
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

    def test_a_crash_while_removing_leaves_all_or_nothing(self, new_backend):
        rows = [row(1), row(2)]
        segment = Archive(None).new_segment(DAY)

        def prepare():
            backend = new_backend()
            Archive(backend).write(segment, rows)
            return backend

        for backend in each_crash(prepare, lambda failing: Archive(failing).remove(segment)):
            archive = Archive(backend)
            assert fields(archive.rows(segment)) in ([], fields(rows))
            archive.remove(segment)
            assert backend.listdir("") == ([], [])

    def test_two_writers_of_one_segment_leave_the_rows_of_one(self, backend, archive, segment):
        """As when the first has lost its lock and does not know."""

        def rows():
            yield row(1)
            archive.write(segment, [row(2), row(3)])
            yield row(4)

        archive.write(segment, [row(0)])
        archive.write(segment, rows())
        assert archive.verify(segment).count == 2
        archive.remove_orphans(segment)
        assert fields(archive.rows(segment)) == fields([row(1), row(4)])

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

    # Trouble.

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
