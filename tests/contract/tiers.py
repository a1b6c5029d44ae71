"""Hot and cold: what changes over, who can read it, and that nothing changes it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import (
    IdempotentInteractionGone,
    InteractionArchived,
    InteractionConflict,
    StorageUnavailable,
)
from storage.models.idempotency import Idempotency
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from storage.records.questions import Question
from storage.records.runs import Ended
from storage.records.searches import Search
from tests.contract.calls import ids

DAY = datetime(2026, 10, 3, tzinfo=UTC)

TOKYO = timezone(timedelta(hours=9))


class TiersContract:
    rows_in_one_call = 1100
    """More than a backend writes in one transaction or request (SQLite: 500)."""

    @pytest.fixture
    def make_old(self, make_interaction):
        """Interactions of one day, a second apart."""

        def make(number, **fields):
            created_at = DAY + timedelta(seconds=number, microseconds=number)
            times = {"created_at": created_at, "updated_at": created_at}
            return make_interaction(**({"interaction_id": f"old-{number}"} | times | fields))

        return make

    @pytest.fixture
    def files(self, tmp_path):
        return ArchiveFolder(location=tmp_path / "archive")

    @pytest.fixture
    def archive(self, storage, files, monkeypatch):
        archive = Archive(files)
        monkeypatch.setattr(storage, "archive", archive)
        return archive

    @pytest.fixture
    def archived(self, storage, archive, make_old):
        """Moves interactions that are saved to cold storage; gives their segment."""

        def move(*interactions):
            segment = archive.new_segment(interactions[0].created_at.date())
            archive.write(segment, interactions)
            assert storage.move_to_cold(interactions, segment) == len(interactions)
            return segment

        return move

    @pytest.fixture
    def cold(self, storage, archived, make_old):
        """Three archived interactions."""
        interactions = [make_old(number) for number in range(3)]
        storage.create_interactions_sync(interactions)
        archived(*interactions)
        return interactions

    def test_a_cold_interaction_is_read_as_a_hot_one(self, calls, cold):
        for interaction in cold:
            found = calls.get_interaction(interaction.interaction_id)
            assert found.same_content(interaction)
            assert (found.created_at, found.updated_at) == (
                interaction.created_at,
                interaction.updated_at,
            )

    def test_its_json_says_that_it_is_archived(self, calls, cold, make_old, storage):
        storage.create_interactions_sync([make_old(10)])
        assert b'"tier":"archive"' in calls.get_json("old-1")
        assert b"tier" not in calls.get_json("old-10")

    def test_what_was_cached_while_it_was_hot_says_so_too(self, calls, storage, archived, make_old):
        interaction = make_old(1)
        storage.create_interactions_sync([interaction])
        calls.get_json("old-1")
        archived(interaction)
        assert b'"tier":"archive"' in calls.get_json("old-1")

    def test_it_is_unknown_to_another_user(self, calls, cold):
        assert calls.get_json("old-1", user_id="bob") is None
        assert calls.delete_interaction("old-1", user_id="bob") is False
        assert calls.update_interaction("old-1", {"response": "new"}, user_id="bob") is None
        assert calls.get_interaction("old-1") is not None

    def test_it_is_in_no_list_and_answers_nothing(self, calls, storage, cold, make_old):
        storage.create_interactions_sync([make_old(10, message="another")])
        listed = calls.get_user_interactions("ada", 10)
        assert [each.interaction_id for each in listed] == ["old-10"]
        assert calls.find_answer(Question(user_id="ada", message="What is a B-tree?")) is None

    def test_a_filter_means_an_instant_whatever_its_offset_for_cold_ones_too(
        self, calls, archived, make_old
    ):
        evening = DAY + timedelta(hours=20)
        rows = [make_old(n, created_at=evening + timedelta(minutes=n)) for n in range(3)]
        calls.create_interactions(rows)
        archived(*rows)
        middle = rows[1].created_at.astimezone(TOKYO)  # where it is the next day
        for fields, expected in (
            ({"created_after": middle}, ["old-2", "old-1"]),
            ({"created_before": middle}, ["old-0"]),
        ):
            query = PageQuery(tier="archive", **fields)
            assert ids(calls.list_user_interactions("ada", query).interactions) == expected
            assert ids(calls.search_interactions(Search(**fields)).interactions) == expected

    def test_it_cannot_be_changed(self, calls, cold, make_old):
        with pytest.raises(InteractionArchived):
            calls.update_interaction("old-1", {"response": "new"})
        with pytest.raises(InteractionArchived):
            calls.save_interaction(make_old(1, response="new"))
        assert calls.get_interaction("old-1").same_content(cold[1])

    def test_its_id_stays_taken(self, calls, cold, make_old):
        found, created = calls.create_interaction(make_old(1))
        assert (found.interaction_id, created) == ("old-1", False)
        with pytest.raises(InteractionConflict):
            calls.create_interaction(make_old(1, message="another"))
        outcomes = calls.create_interactions(
            [make_old(0), make_old(1, message="another"), make_old(20)]
        )
        assert outcomes == [Outcome.UNCHANGED, Outcome.CONFLICT, Outcome.CREATED]

    def test_a_batch_repeats_what_becomes_hot_at_that_moment(
        self, calls, storage, archive, cold, monkeypatch
    ):
        (segment,) = archive.segments(DAY.date())
        create_many = storage.database.create_many

        def restored_meanwhile(interactions):
            outcomes = create_many(interactions)
            storage.return_from_cold(cold, segment)
            archive.remove(segment)
            return outcomes

        monkeypatch.setattr(storage.database, "create_many", restored_meanwhile)
        assert calls.create_interactions(cold) == [Outcome.UNCHANGED] * 3

    def test_a_batch_is_not_told_of_conflicts_where_the_archive_is_missing(
        self, calls, archive, cold
    ):
        (segment,) = archive.segments(DAY.date())
        archive.remove(segment)
        with pytest.raises(StorageUnavailable):
            calls.create_interactions(cold)

    def test_a_repeat_by_idempotency_key_gives_it(self, calls, storage, archived, make_old):
        request = Idempotency("k" * 64, "r" * 64)
        interaction, _ = storage.create_interaction_sync(make_old(1), request)
        archived(interaction)
        found, created = calls.create_interaction(make_old(2), request)
        assert (found.interaction_id, created) == ("old-1", False)

    def test_a_repeat_by_idempotency_key_gives_no_other_users(
        self, calls, storage, archived, make_old
    ):
        request = Idempotency("k" * 64, "r" * 64)
        storage.create_interaction_sync(make_old(1), request)
        storage.delete_interaction_sync("old-1")
        others, _ = storage.create_interaction_sync(make_old(1, user_id="bob"))
        archived(others)
        with pytest.raises(IdempotentInteractionGone):
            calls.create_interaction(make_old(1), request)

    def test_deleting_it_takes_effect_at_once_and_leaves_a_mark(self, calls, archive, cold):
        assert calls.delete_interaction("old-1", user_id="ada") is True
        assert calls.get_interaction("old-1") is None
        assert calls.delete_interaction("old-1") is False
        (segment,) = archive.marked()
        assert {each.interaction_id for each in archive.rows(segment)} == {
            "old-0",
            "old-1",
            "old-2",
        }

    def test_a_deleted_one_leaves_its_id_free(self, calls, cold, make_old):
        calls.delete_interaction("old-1")
        _, created = calls.create_interaction(make_old(1, message="another"))
        assert created

    def test_only_what_is_as_it_was_written_moves(self, storage, archive, make_old):
        kept = [make_old(number) for number in range(3)]
        storage.create_interactions_sync(kept)
        segment = archive.new_segment(DAY.date())
        archive.write(segment, kept)
        storage.update_interaction_sync("old-1", {"response": "changed meanwhile"})
        storage.delete_interaction_sync("old-2")
        assert storage.move_to_cold(kept, segment) == 1
        assert storage.database.stubs(["old-0", "old-1", "old-2"]).keys() == {"old-0"}
        assert storage.get_interaction_sync("old-1").response == "changed meanwhile"

    def test_each_moves_to_its_own_segment(self, storage, archive, make_old):
        rows = [make_old(number) for number in range(4)]
        storage.create_interactions_sync(rows)
        first, second = archive.new_segment(DAY.date()), archive.new_segment(DAY.date())
        archive.write(first, rows[::2])
        archive.write(second, rows[1::2])
        segments = {row.interaction_id: (first, second)[n % 2] for n, row in enumerate(rows)}
        assert storage.move_to_cold(rows, segments) == 4
        stubs = storage.database.stubs(list(segments))
        assert {name: stub.segment for name, stub in stubs.items()} == segments
        for row in rows:
            assert storage.get_interaction_sync(row.interaction_id).same_content(row)

    def test_moving_twice_moves_once(self, storage, archive, make_old):
        interaction = make_old(1)
        storage.create_interactions_sync([interaction])
        segment = archive.new_segment(DAY.date())
        archive.write(segment, [interaction])
        assert storage.move_to_cold([interaction], segment) == 1
        assert storage.move_to_cold([interaction], segment) == 0

    def test_it_comes_back_as_it_was(self, calls, storage, archived, make_old):
        interaction = make_old(1)
        storage.create_interactions_sync([interaction])
        segment = archived(interaction)
        assert storage.return_from_cold([interaction], "2026-10-03/another") == 0
        assert storage.return_from_cold([interaction], segment) == 1
        assert storage.return_from_cold([interaction], segment) == 0
        found = calls.get_interaction("old-1")
        assert found.same_content(interaction)
        assert found.updated_at == interaction.updated_at
        assert b"tier" not in calls.get_json("old-1")
        assert [each.interaction_id for each in calls.get_user_interactions("ada", 5)] == ["old-1"]
        question = Question(user_id="ada", message="What is a B-tree?")
        assert calls.find_answer(question).interaction_id == "old-1"

    def test_dropping_stubs_of_a_segment_leaves_those_of_others(self, storage, archived, make_old):
        first, second = make_old(1), make_old(2)
        storage.create_interactions_sync([first, second])
        segment = archived(first)
        archived(second)
        assert storage.database.drop_stubs(["old-1", "old-2", "unknown"], segment) == 1
        assert storage.database.stubs(["old-1", "old-2"]).keys() == {"old-2"}

    def test_an_expired_one_cannot_be_read_and_its_id_is_free(
        self, calls, storage, cold, make_old, settings
    ):
        settings.RETENTION_TOTAL_DAYS = (datetime.now(UTC) - DAY).days
        assert calls.get_interaction("old-1") is None
        assert calls.get_json("old-1") is None
        assert calls.delete_interaction("old-1") is False
        assert calls.update_interaction("old-1", {"response": "new"}) is None
        now = datetime.now(UTC)
        _, created = calls.create_interaction(make_old(1, created_at=now, message="another"))
        assert created
        assert calls.create_interactions([make_old(2, created_at=now)]) == [Outcome.CREATED]
        calls.save_interaction(make_old(0, created_at=now, user_id="bob"))
        assert calls.get_interaction("old-0").user_id == "bob"

    def test_the_oldest_come_first_and_to_the_microsecond(self, storage, make_old):
        storage.create_interactions_sync([make_old(number) for number in (3, 1, 2, 4)])
        until = make_old(3).created_at
        found = storage.oldest(until, 10)
        assert [each.interaction_id for each in found] == ["old-1", "old-2", "old-3"]
        assert storage.database.count_oldest(until, 10) == 3
        assert storage.database.count_oldest(until, 2) == 2
        assert storage.database.count_oldest(until - timedelta(microseconds=1), 10) == 2
        assert [each.interaction_id for each in storage.oldest(until, 2)] == ["old-1", "old-2"]
        after = (make_old(1).created_at, "old-1")
        rest = storage.oldest(until, 10, after)
        assert [each.interaction_id for each in rest] == ["old-2", "old-3"]

    def test_the_oldest_of_one_time_come_by_id(self, storage, make_interaction):
        ids = ["b", "a", "a#", "é", "a/b", "😀", "Z"]
        storage.create_interactions_sync(
            [make_interaction(interaction_id=each, created_at=DAY) for each in ids]
        )
        found = [each.interaction_id for each in storage.oldest(DAY, 10)]
        assert found == sorted(ids)
        for place, interaction_id in enumerate(found):
            rest = storage.oldest(DAY, 10, (DAY, interaction_id))
            assert [each.interaction_id for each in rest] == found[place + 1 :]

    def test_many_change_over_in_one_call(self, storage, archive, make_old):
        count = self.rows_in_one_call
        interactions = [make_old(number) for number in range(count)]
        for start in range(0, count, 100):
            storage.create_interactions_sync(interactions[start : start + 100])
        oldest = storage.oldest(DAY + timedelta(days=1), count)
        assert oldest[-1].interaction_id == interactions[-1].interaction_id
        segment = archive.new_segment(DAY.date())
        archive.write(segment, interactions)
        assert storage.move_to_cold(interactions, segment) == count
        assert storage.database.count_oldest(DAY + timedelta(days=1), 10) == 0
        assert len(storage.database.stubs([each.interaction_id for each in interactions])) == count
        assert storage.return_from_cold(interactions, segment) == count

    def test_expired_rows_are_removed_if_they_have_expired(self, storage, make_old):
        interactions = [make_old(number) for number in range(3)]
        storage.create_interactions_sync(interactions)
        assert storage.database.remove_expired(interactions, interactions[1].created_at) == 2
        assert storage.get_interaction_sync("old-2") is not None

    def test_the_rows_of_a_user_are_erased(self, calls, storage, make_old):
        interactions = [make_old(0), make_old(1), make_old(2, user_id="bob")]
        storage.create_interactions_sync(interactions)
        for each in interactions:
            calls.get_interaction(each.interaction_id)
        found = storage.hot_of_user("ada", 10)
        assert [each.interaction_id for each in found] == ["old-1", "old-0"]
        assert storage.erase_hot(interactions, "ada") == 2
        assert [calls.get_interaction(each.interaction_id) is None for each in interactions] == [
            True,
            True,
            False,
        ]

    def test_when_each_command_last_ran(self, storage):
        assert storage.database.last_runs() == {}
        storage.database.record_run("purge_interactions", DAY)
        storage.database.record_run("backup", DAY + timedelta(hours=1))
        storage.database.record_run("purge_interactions", DAY - timedelta(microseconds=1))
        assert storage.database.last_runs() == {
            "purge_interactions": DAY - timedelta(microseconds=1),
            "backup": DAY + timedelta(hours=1),
        }

    def test_how_each_command_last_ended(self, storage):
        assert storage.database.last_ends() == {}
        storage.database.record_end("purge_interactions", Ended(DAY, "done"))
        storage.database.record_end("backup", Ended(DAY + timedelta(hours=1), "stopped"))
        failed = Ended(DAY - timedelta(microseconds=1), "failed")
        storage.database.record_end("purge_interactions", failed)
        assert storage.database.last_ends() == {
            "purge_interactions": failed,
            "backup": Ended(DAY + timedelta(hours=1), "stopped"),
        }
        assert storage.database.last_runs() == {}, "these are traces of the clock"

    def test_a_lock_has_one_owner(self, storage):
        assert storage.database.acquire_lock("lifecycle", "first", 60)
        assert storage.database.acquire_lock("lifecycle", "first", 60)
        assert not storage.database.acquire_lock("lifecycle", "second", 60)
        assert storage.database.lock_owner("lifecycle", 60) == "first"
        storage.database.release_lock("lifecycle", "second")
        assert not storage.database.acquire_lock("lifecycle", "second", 60)
        storage.database.release_lock("lifecycle", "first")
        assert storage.database.acquire_lock("lifecycle", "second", 0.001)

    def test_a_lock_can_be_dropped_whoever_has_it(self, storage):
        assert storage.database.acquire_lock("archive", "first", 60)
        storage.database.drop_lock("archive")
        storage.database.drop_lock("archive")
        assert storage.database.acquire_lock("archive", "second", 60)
