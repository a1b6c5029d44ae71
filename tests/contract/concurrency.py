"""Calls that run at the same time. More of them than the executor has threads."""

import pytest

from storage import expiry
from storage.exceptions import IdempotencyKeyReused, InteractionConflict
from storage.models.idempotency import Idempotency
from storage.records.outcomes import Outcome
from tests.contract.calls import at, gather, ids

CALLERS = 16


class ConcurrencyContract:
    def test_creating_and_deleting_one_id_at_the_same_time_is_no_error(
        self, storage, make_interaction
    ):
        async def create_and_delete(n):
            for _ in range(20):
                await storage.create_interaction(make_interaction(interaction_id="i"))
                await storage.delete_interaction("i")

        assert gather(*[create_and_delete(n) for n in range(4)]) == [None] * 4

    def test_one_user_saving_an_expired_id_many_times_at_once_is_no_conflict(
        self, storage, make_interaction, monkeypatch
    ):
        storage.save_interaction_sync(make_interaction(interaction_id="i", created_at=at()))
        monkeypatch.setattr(expiry, "cutoff", at)
        saves = [
            storage.save_interaction(
                make_interaction(interaction_id="i", created_at=at(hours=1), message=str(n))
            )
            for n in range(CALLERS)
        ]
        assert gather(*saves) == [None] * CALLERS

    def test_one_of_many_equal_creations_creates(self, storage, make_interaction):
        results = gather(
            *[
                storage.create_interaction(make_interaction(interaction_id="i"))
                for _ in range(CALLERS)
            ]
        )
        assert sorted(created for _, created in results) == [False] * (CALLERS - 1) + [True]

    def test_one_of_many_different_creations_wins_and_is_stored(self, storage, make_interaction):
        results = gather(
            *[
                storage.create_interaction(make_interaction(interaction_id="i", message=str(n)))
                for n in range(CALLERS)
            ]
        )
        (winner,) = [result for result in results if not isinstance(result, Exception)]
        lost = [result for result in results if isinstance(result, InteractionConflict)]
        assert len(lost) == CALLERS - 1
        assert storage.get_interaction_sync("i").message == winner[0].message

    def test_one_idempotency_key_creates_once(self, storage, make_interaction):
        request = Idempotency(key="k" * 64, request="r" * 64)
        results = gather(
            *[storage.create_interaction(make_interaction(), request) for _ in range(CALLERS)]
        )
        assert sorted(created for _, created in results) == [False] * (CALLERS - 1) + [True]
        (made,) = ids(storage.get_user_interactions_sync("ada", 50))
        assert {stored.interaction_id for stored, _ in results} == {made}

    def test_one_idempotency_key_lets_one_of_two_requests_through(self, storage, make_interaction):
        results = gather(
            *[
                storage.create_interaction(
                    make_interaction(message=str(n % 2)), Idempotency("k" * 64, str(n % 2) * 64)
                )
                for n in range(CALLERS)
            ]
        )
        refused = [result for result in results if isinstance(result, IdempotencyKeyReused)]
        assert len(refused) == CALLERS // 2
        assert len(storage.get_user_interactions_sync("ada", 50)) == 1

    def test_a_batch_sent_many_times_creates_each_once(self, storage, make_interaction):
        def batch():
            return [make_interaction(interaction_id=f"i{n}") for n in range(20)]

        results = gather(*[storage.create_interactions(batch()) for _ in range(CALLERS)])
        outcomes = [outcome for result in results for outcome in result]
        assert outcomes.count(Outcome.CREATED) == 20
        assert outcomes.count(Outcome.UNCHANGED) == 20 * (CALLERS - 1)

    def test_updates_of_different_fields_are_both_kept(self, storage, make_interaction):
        storage.save_interaction_sync(make_interaction(interaction_id="i"))
        for n in range(1, 11):
            changes = [{"response": f"r{n}"}, {"model_used": f"m{n}"}]
            changes += [{"input_tokens": n}, {"output_tokens": n}]
            results = gather(*[storage.update_interaction("i", change) for change in changes])
            assert not [result for result in results if isinstance(result, Exception)]
            found = storage.get_interaction_sync("i")
            assert (found.response, found.model_used) == (f"r{n}", f"m{n}")
            assert (found.input_tokens, found.output_tokens) == (n, n)

    def test_an_id_that_two_users_want_goes_to_one(self, storage, make_interaction):
        results = gather(
            *[
                storage.save_interaction(make_interaction(interaction_id="i", user_id=user_id))
                for user_id in ("ada", "bob") * (CALLERS // 2)
            ]
        )
        owner = storage.get_interaction_sync("i").user_id
        for user_id, result in zip(("ada", "bob") * (CALLERS // 2), results, strict=True):
            assert isinstance(result, InteractionConflict) is (user_id != owner)

    def test_one_of_many_deletions_deletes(self, storage, make_interaction):
        storage.save_interaction_sync(make_interaction(interaction_id="i"))
        results = gather(*[storage.delete_interaction("i") for _ in range(CALLERS)])
        assert sorted(results) == [False] * (CALLERS - 1) + [True]

    def test_a_reader_sees_what_was_saved_before_it_began(self, storage, make_interaction):
        async def save_then_read(n):
            await storage.save_interaction(make_interaction(interaction_id="i", message=str(n)))
            found = await storage.get_interaction("i")
            return int(found.message)

        async def climb():
            # One writer whose values grow; each of its reads must be at least as new.
            return [await save_then_read(n) for n in range(20)]

        (seen, *_) = gather(climb(), *[storage.get_interaction("i") for _ in range(50)])
        assert seen == list(range(20))

    @pytest.mark.parametrize("calls_at_once", [80, pytest.param(200, marks=pytest.mark.exhaustive)])
    def test_many_calls_at_once_all_end(self, storage, make_interaction, calls_at_once):
        results = gather(
            *[
                storage.save_interaction(make_interaction(interaction_id=str(n)))
                for n in range(calls_at_once)
            ]
        )
        assert results == [None] * calls_at_once
        assert len(storage.get_user_interactions_sync("ada", calls_at_once)) == calls_at_once
