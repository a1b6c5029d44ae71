"""Usage: what a backend says of its roll-ups, and what they are if it keeps them."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.models import UsageOfModel, UsageOfUser

DAY = datetime(2026, 10, 3, tzinfo=UTC)


@pytest.mark.usefixtures("db")  # what is counted is in the SQL database, wherever the rest is
class UsageContract:
    """Every backend, one that keeps no roll-ups too."""

    def test_it_says_until_when_usage_is_counted_or_that_it_is_not(self, storage, make_interaction):
        storage.save_interaction_sync(make_interaction())
        until = storage.database.count_usage(5)
        assert until is None or timedelta() <= datetime.now(UTC) - until < timedelta(hours=1)

    def test_reads_go_on_in_a_snapshot(self, storage, make_interaction):
        saved = make_interaction(interaction_id="i")
        storage.save_interaction_sync(saved)
        with storage.database.snapshot(saved.created_at.date()):
            assert storage.database.read("i") is not None
            assert storage.database.look("i") is not None


class CountedUsageContract:
    """A backend that keeps roll-ups: each change is counted once, in the SQL database."""

    @staticmethod
    def of_models(storage):
        assert storage.database.count_usage(60) is not None
        numbers = "interactions", "unanswered", "input_tokens", "output_tokens", "hot", "cold"
        found = UsageOfModel.objects.order_by("day", "model_used")
        return {
            (day, model): rest
            for day, model, *rest in found.values_list("day", "model_used", *numbers)
        }

    def test_usage_is_counted_by_day_and_model_and_user(self, storage, make_interaction):
        def made(number, **fields):
            return make_interaction(
                **{"created_at": DAY + timedelta(hours=number), "model_used": "a"} | fields,
                interaction_id=f"i-{number}",
                input_tokens=number,
                output_tokens=10,
            )

        first, day, next_day = made(0, response=""), DAY.date(), (DAY + timedelta(days=1)).date()
        storage.create_interaction_sync(first)
        storage.create_interaction_sync(first)  # again
        storage.create_interactions_sync([made(1), made(2, model_used="b"), made(30)])
        storage.save_interaction_sync(made(3, user_id="bob"))
        assert self.of_models(storage) == {
            (day, "a"): [3, 1, 4, 30, 3, 0],
            (day, "b"): [1, 0, 2, 10, 1, 0],
            (next_day, "a"): [1, 0, 30, 10, 1, 0],
        }
        storage.update_interaction_sync("i-0", {"response": "yes", "output_tokens": 20})
        storage.save_interaction_sync(made(3, user_id="bob", model_used="b"))
        storage.delete_interaction_sync("i-1")
        storage.delete_interaction_sync("i-1")
        assert self.of_models(storage) == {
            (day, "a"): [2, 0, 1, 30, 1, 0],
            (day, "b"): [2, 0, 5, 20, 2, 0],
            (next_day, "a"): [1, 0, 30, 10, 1, 0],
        }
        of_bob = UsageOfUser.objects.filter(user_id="bob", interactions__gt=0)
        assert list(of_bob.values_list("day", "model_used", "interactions")) == [(day, "b", 1)]

    def test_a_move_changes_the_tier_alone(self, storage, make_interaction):
        rows = [
            make_interaction(
                interaction_id=f"i{n}", created_at=DAY, model_used="a", output_tokens=4
            )
            for n in range(3)
        ]
        storage.create_interactions_sync(rows)
        before = self.of_models(storage)[DAY.date(), "a"]
        segment = f"{DAY:%F}/first"
        assert storage.move_to_cold(rows[:2], segment) == 2
        assert self.of_models(storage)[DAY.date(), "a"] == [*before[:4], 1, 2]
        assert storage.return_from_cold(rows[:1], segment) == 1
        assert self.of_models(storage)[DAY.date(), "a"] == [*before[:4], 2, 1]
        storage.database.drop_stubs(["i1"], segment)
        assert self.of_models(storage)[DAY.date(), "a"] == [*before[:4], 2, 0]
