"""What a user asked before and after an interaction."""

from datetime import UTC, datetime, timedelta

from storage import neighbours
from tests.contract.calls import at


def around(calls, interaction):
    found = calls.neighbours(interaction)
    return tuple(row and row.interaction_id for row in (found.previous, found.next))


def walked(calls, first):
    """From an interaction to the newest one and back to the oldest one: the ids on both ways."""
    forth, back = [first], []
    while (following := calls.neighbours(forth[-1]).next) is not None:
        forth.append(following)
    back = [forth[-1]]
    while (previous := calls.neighbours(back[-1]).previous) is not None:
        back.append(previous)
    return [row.interaction_id for row in forth], [row.interaction_id for row in back]


class NeighboursContract:
    def test_neighbours_are_of_one_user_by_time_then_by_id(self, calls, make_interaction):
        rows = [
            make_interaction(interaction_id=name, user_id=user_id, created_at=at(minutes=minute))
            for name, user_id, minute in (
                ("a", "ada", 1),
                ("x", "bob", 2),
                ("c", "ada", 3),
                ("b", "ada", 3),
                ("d", "ada", 3),
                ("e", "ada", 9),
            )
        ]
        calls.create_interactions(rows)
        assert walked(calls, rows[0]) == (list("abcde"), list("edcba"))
        assert around(calls, rows[1]) == (None, None)
        calls.delete_interaction("c")
        assert around(calls, rows[3]) == ("a", "d")

    def test_what_has_expired_is_no_neighbour(self, calls, make_interaction, settings):
        rows = [make_interaction(interaction_id=str(n), created_at=at(days=n)) for n in range(3)]
        calls.create_interactions(rows)
        settings.RETENTION_TOTAL_DAYS = (datetime.now(UTC) - at(days=1, hours=1)) / timedelta(
            days=1
        )
        assert around(calls, rows[2]) == (None, None)
        assert around(calls, rows[0]) == (None, "2"), "an old bookmark"

    def test_what_has_expired_in_the_archive_is_no_neighbour(
        self, calls, archived, make_old, settings
    ):
        rows = [make_old(n * 3600) for n in range(4)]
        calls.create_interactions(rows)
        archived(*rows)
        expired = datetime.now(UTC) - rows[1].created_at - timedelta(minutes=30)
        settings.RETENTION_TOTAL_DAYS = expired / timedelta(days=1)
        assert around(calls, rows[3]) == ("old-7200", None)
        assert around(calls, rows[2]) == (None, "old-10800")
        assert around(calls, rows[0]) == (None, "old-7200"), "an old bookmark"

    def test_hot_and_cold_ones_are_neighbours(self, calls, archived, make_old):
        rows = [
            make_old(n, created_at=make_old(n).created_at + timedelta(hours=n * 20))
            for n in range(8)
        ]
        others = [make_old(100 + n, user_id="bob") for n in range(3)]
        calls.create_interactions([*rows, *others])
        for cold in (rows[1], rows[2], rows[5], *others):
            archived(cold)
        names = [row.interaction_id for row in rows]
        assert walked(calls, rows[0]) == (names, names[::-1])
        calls.delete_interaction("old-2")
        assert around(calls, rows[1]) == ("old-0", "old-3")

    def test_one_that_is_dated_far_in_the_future_is_the_next_one(self, calls, archived, make_old):
        rows = [make_old(n) for n in range(2)]
        last = datetime.max.replace(tzinfo=UTC)
        rows += [make_old(2, created_at=last), make_old(3, created_at=last)]
        calls.create_interactions(rows)
        archived(*rows[:2])
        names = [row.interaction_id for row in rows]
        assert walked(calls, rows[0]) == (names, names[::-1])

    def test_the_next_one_is_found_among_many_of_a_minute(
        self, calls, archived, make_old, monkeypatch
    ):
        monkeypatch.setattr(neighbours, "COLD_AT_ONCE", 2)
        rows = [make_old(n) for n in range(0, 60, 2)]
        calls.create_interactions(rows)
        archived(*rows)
        assert around(calls, rows[3]) == ("old-4", "old-8")
        assert around(calls, rows[-1]) == ("old-56", None)

    def test_it_says_so_if_the_next_one_cannot_be_found(
        self, calls, archived, make_old, monkeypatch
    ):
        monkeypatch.setattr(neighbours, "COLD_AT_ONCE", 2)
        monkeypatch.setattr(neighbours, "COLD_READS", 3)
        rows = [make_old(n) for n in range(30)]
        calls.create_interactions(rows)
        archived(*rows)
        found = calls.neighbours(rows[3])
        assert (found.previous.interaction_id, found.next, found.is_next_known) == (
            "old-2",
            None,
            False,
        )
        assert "B-tree" not in repr(found)
