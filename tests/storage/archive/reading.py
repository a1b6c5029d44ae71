"""Parts of a segment, lists of segments, markers, and whose rows there are."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from tests.storage.archive.rows import DAY, START, fields, position, row


class PartsContract:
    def test_some_rows_are_found_by_time_and_id(self, archive, segment, written):
        wanted = [position(each) for each in (written[99], written[0], written[50])]
        found = sorted(archive.find(segment, wanted).values(), key=position)
        assert fields(found) == fields([written[0], written[50], written[99]])

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
        for number in (0, 1, 50):
            found = archive.newest(segment, position(written[number]))
            assert fields(found) == fields(reversed(written[:number]))
        for before, expected in (
            (position(written[99]), written[:99]),
            ((START + timedelta(days=9), ""), written),
        ):
            first = islice(archive.newest(segment, before), 5)
            assert fields(first) == fields(expected[:-6:-1])
        since = written[90].created_at
        assert fields(archive.newest(segment, after=since)) == fields(reversed(written[90:]))

    def test_one_row_costs_one_frame(self, archive, segment, written, reads):
        manifest = archive.manifest(segment)
        reads.clear()
        assert archive.find(segment, [position(written[50])])
        assert len(reads) == 2  # the manifest and the frame
        (name, count) = reads[1]
        assert name == manifest.data
        assert count in {frame.length for frame in manifest.frames}
        assert count < manifest.bytes / 5

    def test_the_first_of_the_newest_cost_one_frame(self, archive, segment, written, reads):
        manifest = archive.manifest(segment)
        reads.clear()
        next(archive.newest(segment))
        assert [name for name, _ in reads] == [segment + ".json", manifest.data]
        assert len(reads) == 2
        assert reads[1][1] - 1 <= max(frame.length for frame in manifest.frames)

    def test_what_is_not_there_costs_no_frame(self, archive, segment, written, reads):
        reads.clear()
        assert archive.find(segment, [(START - timedelta(days=1), "i")]) == {}
        assert len(reads) == 1


class ListsContract:
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


class MarkersContract:
    def test_markers_are_listed_and_taken_away_one_by_one(self, archive, segment):
        other = archive.new_segment(DAY)
        first, second, third = archive.mark(other), archive.mark(segment), archive.mark(segment)
        assert archive.marked() == {segment: sorted([second, third]), other: [first]}
        archive.unmark([second])
        assert archive.marked() == {segment: [third], other: [first]}
        archive.unmark([first, second, third])
        assert archive.marked() == {}
        assert archive.days() == []


class UsersContract:
    def test_a_manifest_tells_whose_rows_it_has_but_names_nobody(self, archive, segment):
        rows = [row(number, user_id=f"user {number % 3}") for number in range(10)]
        manifest = archive.write(segment, rows)
        assert sorted(manifest.users.values()) == [3, 3, 4]
        assert [manifest.may_hold(f"user {number}") for number in range(4)] == [True] * 3 + [False]
        text = archive.files.read(f"{segment}.json")
        assert b"user 1" not in text
        assert set(json.loads(text)["content"]["users"]) == set(manifest.users)
