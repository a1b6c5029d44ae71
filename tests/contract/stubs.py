"""What maintenance asks of stubs and idempotency keys, besides tier transitions.

A backend may leave it to its database to delete what has expired. So the counts that it returns
must be true, whatever they are.
"""

from datetime import UTC, datetime, timedelta

import pytest

from storage.models.idempotency import IDEMPOTENCY_LIFETIME, Idempotency
from storage.records.stubs import Stub
from tests.contract.calls import at

FIRST, SECOND, THIRD = "2026-03-01/a", "2026-03-01/b", "2026-03-02/c"


class StubsContract:
    @pytest.fixture
    def stubs_of(self, storage, make_interaction):
        """Makes a cold interaction for each segment, without files; returns their stubs."""

        def make(*segments):
            stubs = set()
            for number, segment in enumerate(segments):
                row = make_interaction(interaction_id=f"i{number}", created_at=at(hours=number))
                storage.create_interaction_sync(row)
                assert storage.move_to_cold([row], segment) == 1
                stubs.add(Stub(row.interaction_id, row.created_at, segment))
            return stubs

        return make

    def test_a_stub_says_where_its_interaction_is(self, storage, stubs_of):
        assert list(storage.database.all_stubs()) == []
        stubs = stubs_of(FIRST, SECOND, THIRD)
        assert set(storage.database.all_stubs()) == stubs
        assert set(storage.database.stubs(["i0", "i1", "i2", "unknown"]).values()) == stubs
        assert {storage.database.look(stub.interaction_id) for stub in stubs} == stubs

    def test_rows_without_a_stub_are_adopted(self, storage, stubs_of, make_interaction):
        stubs_of(SECOND, SECOND)
        rows = [
            make_interaction(interaction_id=f"i{n}", created_at=at(hours=n)) for n in range(150)
        ]
        assert storage.database.adopt(rows, SECOND) is True
        assert storage.database.adopt(rows, SECOND) is True
        ids = [row.interaction_id for row in rows]
        expected = {
            row.interaction_id: Stub(row.interaction_id, row.created_at, SECOND) for row in rows
        }
        assert storage.database.stubs(ids) == expected

    def test_a_row_that_another_segment_has_is_not_adopted(
        self, storage, stubs_of, make_interaction
    ):
        stubs_of(FIRST, SECOND)
        rows = [make_interaction(interaction_id=f"i{n}", created_at=at(hours=n)) for n in range(3)]
        assert storage.database.adopt(rows, SECOND) is False
        found = storage.database.stubs(["i0", "i1", "i2"])
        assert [found[each].segment for each in ("i0", "i1", "i2")] == [FIRST, SECOND, SECOND]

    def test_only_stubs_of_a_segment_are_moved(self, storage, stubs_of, make_interaction):
        stubs_of(FIRST, SECOND, FIRST)
        rows = [make_interaction(interaction_id=f"i{n}", created_at=at(hours=n)) for n in range(5)]
        storage.save_interaction_sync(rows[3])
        assert storage.database.move_stubs(rows[1:], FIRST, THIRD) == 1
        assert storage.database.move_stubs([], FIRST, THIRD) == 0
        found = {stub.interaction_id: stub.segment for stub in storage.database.all_stubs()}
        assert found == {"i0": FIRST, "i1": SECOND, "i2": THIRD}
        assert storage.get_interaction_sync("i3") is not None

    def test_a_stub_that_is_moved_has_the_time_of_the_row(
        self, storage, stubs_of, make_interaction
    ):
        """The interaction was deleted, and made again under its id, before it was archived."""
        stubs_of(FIRST, FIRST)
        row = make_interaction(interaction_id="i0", created_at=at(hours=5))
        assert storage.database.move_stubs([row], FIRST, THIRD) == 1
        found = storage.database.stubs(["i0", "i1"])
        assert found["i0"] == Stub("i0", at(hours=5), THIRD)
        assert found["i1"] == Stub("i1", at(hours=1), FIRST)

    def test_a_hot_interaction_is_not_adopted(self, storage, make_interaction):
        rows = [make_interaction(interaction_id=each) for each in ("i", "j")]
        storage.save_interaction_sync(rows[0])
        assert storage.database.adopt(rows, SECOND) is False
        assert [stub.interaction_id for stub in storage.database.all_stubs()] == ["j"]
        assert storage.get_interaction_sync("i") is not None

    def test_nothing_is_adopted(self, storage):
        assert storage.database.adopt([], FIRST) is True
        assert list(storage.database.all_stubs()) == []

    def test_users_are_those_with_hot_interactions(self, storage, stubs_of, make_interaction):
        stubs_of(FIRST)
        assert set(storage.database.users()) == set()
        for number in range(7):
            storage.save_interaction_sync(make_interaction(user_id=f"user-{number % 3}"))
        assert set(storage.database.users()) == {"user-0", "user-1", "user-2"}

    def test_stubs_are_removed_up_to_a_time_and_a_limit(self, storage, stubs_of):
        stubs = stubs_of(FIRST, FIRST, FIRST, SECOND)
        until = at(hours=2)
        removed = storage.database.remove_expired_stubs(until, 2)
        left = set(storage.database.all_stubs())
        assert removed == len(stubs) - len(left)
        assert removed <= 2
        storage.database.remove_expired_stubs(until, 10)
        assert {stub for stub in stubs if stub.created_at > until} <= left <= stubs

    def test_idempotency_keys_are_removed_once_they_have_expired(self, storage, make_interaction):
        for number in range(3):
            key = Idempotency(f"{number:064}", "r" * 64)
            storage.create_interaction_sync(make_interaction(), key)
        database, now = storage.database, datetime.now(UTC)
        assert database.count_expired_idempotency_keys(now) == 0
        assert database.remove_expired_idempotency_keys(now, 10) == 0
        later = now + IDEMPOTENCY_LIFETIME + timedelta(minutes=1)
        expired = database.count_expired_idempotency_keys(later)
        removed = database.remove_expired_idempotency_keys(later, 2)
        assert removed == min(expired, 2)
        assert database.count_expired_idempotency_keys(later) == expired - removed
