"""Rows come back as they were written; what cannot be a segment is not written."""

from datetime import UTC, timedelta, timezone

import pytest

from storage.archive.names import new_data
from storage.exceptions import StorageUnavailable
from tests.storage.archive.rows import DAY, ODD_TEXTS, START, fields, large_row, position, row

TEXT_MAX = 390_000


class RoundTripsContract:
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
            row(0, user_id="ada"),
            row(1, user_id="ada", message="\x01" * TEXT_MAX),
            row(2, user_id="ada", message="é" * (TEXT_MAX // 2)),
            row(3, user_id="ada"),
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
        assert sorted(archive.find(segment, [(START, name) for name in ids])) == ids
        assert fields(archive.newest(segment, (START, "z"))) == fields(
            reversed([each for each in rows if each.interaction_id < "z"])
        )

    def test_frames_with_rows_of_one_time(self, archive, segment):
        rows = [large_row(number, size=4_000) for number in range(60)]
        for each in rows:
            each.created_at = START
        assert len(archive.write(segment, rows).frames) > 3
        found = archive.find(segment, [position(each) for each in rows]).values()
        assert fields(sorted(found, key=position)) == fields(rows)
        for number in (1, 30, 59):
            before = list(archive.newest(segment, position(rows[number])))
            assert fields(before) == fields(reversed(rows[:number]))


class WritingContract:
    def test_rows_may_come_in_any_order(self, archive, segment):
        rows = [row(number) for number in range(20)]
        archive.write(segment, rows[::-2] + rows[::2])
        assert fields(archive.rows(segment)) == fields(rows)
        assert archive.verify(segment)

    def test_a_row_that_is_there_twice_is_refused(self, archive, segment):
        with pytest.raises(ValueError, match="there twice"):
            archive.write(segment, [row(0), row(1), row(0)])
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
