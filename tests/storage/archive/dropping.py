"""Rewriting a segment without some of its rows, and finding the rows of users in it."""

from itertools import chain

import pytest

from storage.archive.archive import Archive
from storage.archive.pseudonyms import pseudonym
from storage.exceptions import DamagedArchive, StorageUnavailable
from tests.storage.archive.failing import each_crash
from tests.storage.archive.rows import DAY, fields, large_row, row


def without(*dropped):
    """Judges that all rows stay but these."""
    return lambda rows: [each for each in rows if each not in dropped]


class RewritingContract:
    def test_frames_of_which_all_rows_stay_are_copied(self, archive, segment, written):
        before = archive.manifest(segment)
        assert archive.rewrite(segment, without(written[40])) == (99, 1)
        after = archive.verify(segment)
        assert fields(archive.rows(segment)) == fields(written[:40] + written[41:])
        copied = {each.sha256 for each in before.frames} & {each.sha256 for each in after.frames}
        assert len(copied) == len(before.frames) - 1
        assert archive.orphans(segment) == []
        assert after.count == sum(after.users.values()) == 99

    def test_it_is_read_once(self, archive, segment, written, reads):
        manifest = archive.manifest(segment)
        reads.clear()
        archive.rewrite(segment, without(written[40]))
        assert sum(count for name, count in reads if name == manifest.data) <= manifest.bytes + 1

    def test_nothing_to_drop_changes_nothing(self, archive, segment, written):
        before = archive.manifest(segment)
        assert archive.rewrite(segment, list) == (100, 0)
        assert archive.manifest(segment) == before
        assert archive.orphans(segment) == []

    def test_without_any_row_that_stays_it_goes(self, archive, segment, written, backend):
        assert archive.rewrite(segment, lambda rows: []) == (0, 100)
        assert backend.listdir("") == ([], [])
        assert archive.rewrite(segment, list) == (0, 0)

    def test_of_users_only_their_frames_are_judged(self, archive, segment, written):
        judged = []

        def judge(rows):
            judged.extend(rows)
            return without(*of_user)(rows)

        of_user = [each for each in written if each.user_id == "user 3"]
        assert archive.rewrite(segment, judge, ["user 3", "nobody"]) == (86, 14)
        assert {each.interaction_id for each in of_user} <= {each.interaction_id for each in judged}
        # And what shares a frame of four with them: who comes before, SECRET_KEY decides.
        assert len(judged) <= len(of_user) + 2 * 3
        assert archive.verify(segment)
        assert archive.ids_of(segment, ["user 3"]) == {}
        assert len(archive.ids_of(segment, ["user 1"])["user 1"]) == 15

    def test_one_of_nobody_stays_as_it_is(self, archive, segment, written):
        before = archive.manifest(segment)
        assert archive.rewrite(segment, lambda rows: [], ["nobody"]) == (100, 0)
        assert archive.manifest(segment) == before

    @pytest.mark.parametrize("place", ["judged", "copied"])
    def test_damage_is_not_copied(self, archive, segment, written, place):
        manifest = archive.manifest(segment)
        content = bytearray(archive.files.read(manifest.data))
        users = [f"user {number}" for number in range(7)]
        first = next(user for user in users if pseudonym(user) == min(map(pseudonym, users)))
        sought = [first] if place == "judged" else [user for user in users if user != first]
        content[9] ^= 1
        archive.files.write(manifest.data, bytes(content))
        with pytest.raises(DamagedArchive, match=manifest.data):
            archive.rewrite(segment, lambda rows: [], sought[:1])
        assert archive.manifest(segment) == manifest
        assert archive.orphans(segment) == []

    def test_what_a_judge_raises_leaves_it_as_it_was(self, archive, segment, written):
        def judge(rows):
            raise StorageUnavailable("later")

        with pytest.raises(StorageUnavailable, match="later"):
            archive.rewrite(segment, judge)
        assert fields(archive.rows(segment)) == fields(written)
        assert archive.orphans(segment) == []

    def test_a_segment_that_another_rewrites_meanwhile_stays_as_that_one_left_it(
        self, archive, segment, written
    ):
        def judge(rows):
            archive.write(segment, written[:10])
            return rows[1:]

        with pytest.raises(StorageUnavailable, match="by another run"):
            archive.rewrite(segment, judge)
        assert fields(archive.rows(segment)) == fields(written[:10])
        assert archive.orphans(segment) == []

    def test_a_crash_leaves_the_old_rows_or_those_that_stay(self, new_backend, ways):
        rows = [large_row(number) for number in range(6)]
        segment = Archive(None).new_segment(DAY)

        def prepare():
            backend = new_backend()
            Archive(backend).write(segment, rows)
            return backend

        def rewrite(failing):
            Archive(failing).rewrite(segment, without(rows[2]))

        seen = set()
        for backend in each_crash(prepare, rewrite, ways):
            archive = Archive(backend)
            count = archive.verify(segment).count
            seen.add((count, len(archive.orphans(segment))))
            assert fields(archive.rows(segment)) in (fields(rows), fields(rows[:2] + rows[3:]))
            ((only, _),) = archive.segments_of(["user 1"])
            assert only == segment  # whichever files there are
            archive.remove_orphans(segment)
            assert archive.rewrite(segment, without(rows[2])) == (5, count - 5)
        assert seen == {(6, 0), (6, 1), (5, 1), (5, 0)}


class FindingUsersContract:
    def test_segments_are_found_by_users(self, archive):
        rows = [row(number, user_id=f"user {number % 40}") for number in range(400)]
        by_user = sorted(rows, key=lambda each: each.user_id)
        made = {}
        for start in range(0, 400, 50):
            segment = archive.new_segment(DAY)
            archive.write(segment, by_user[start : start + 50])
            made[segment] = {each.user_id for each in by_user[start : start + 50]}
        users = ["user 7", "user 39", "nobody"]
        expected = {segment: found for segment, has in made.items() if (found := has & set(users))}
        assert {name: set(found) for name, found in archive.segments_of(users)} == expected
        ids = [archive.ids_of(segment, users) for segment in expected]
        found = {user: sorted(chain(*(each.get(user, []) for each in ids))) for user in users}
        assert found == {
            user: [each.interaction_id for each in rows if each.user_id == user] for user in users
        }

    def test_those_of_others_are_not_opened(self, archive, reads):
        ranges = []
        users = sorted((pseudonym(f"user {number}"), f"user {number}") for number in range(40))
        for start in range(0, 40, 4):
            segment = archive.new_segment(DAY)
            own = [user for _, user in users[start : start + 4]]
            archive.write(segment, [row(n, user_id=user) for n, user in enumerate(own)])
            ranges.append(segment)
        reads.clear()
        assert dict(archive.segments_of([users[17][1]])) == {ranges[4]: [users[17][1]]}
        assert [name for name, _ in reads] == [f"{ranges[4]}.json"]

    def test_rows_without_a_manifest_might_be_anybodys(self, archive, segment, written):
        archive.files.delete(f"{segment}.json")
        with pytest.raises(
            DamagedArchive, match=r"\.json in the archive is damaged: it is missing"
        ):
            list(archive.segments_of(["nobody"]))
