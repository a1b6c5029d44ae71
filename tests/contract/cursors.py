"""Cursors: good for the query that gave them out, and for nothing else."""

import string

import pytest

from storage.exceptions import InvalidCursor
from storage.records.pages import PageQuery
from tests.contract.calls import at, ids, short

GARBAGE = [
    "x",
    ":",
    "::",
    "a:b",
    "W10:abc",
    "null",
    "\0",
    "é",
    "\ud800",
    " ",
    "../../etc/passwd",
    "A" * 100_000,
    ".eJw:x",
]


class CursorsContract:
    @pytest.fixture
    def four_each(self, storage, make_interaction):
        """Ada, Bob and a user who is called None, with four interactions each."""
        storage.create_interactions_sync(
            [
                make_interaction(
                    interaction_id=f"{user_id}-{n}", user_id=user_id, created_at=at(hours=n)
                )
                for user_id in ("ada", "bob", "None")
                for n in range(4)
            ]
        )

    @pytest.fixture
    def adas_cursor(self, storage, four_each):
        return storage.list_user_interactions_sync("ada", PageQuery(limit=1)).next_cursor

    @pytest.fixture
    def everyones_cursor(self, storage, four_each):
        return storage.list_interactions_sync(PageQuery(limit=1)).next_cursor

    def test_a_cursor_is_good_for_its_own_query(self, calls, adas_cursor):
        page = calls.list_user_interactions("ada", PageQuery(limit=1, cursor=adas_cursor))
        assert ids(page.interactions) == ["ada-2"]

    def test_a_cursor_can_be_used_again(self, calls, adas_cursor):
        query = PageQuery(limit=1, cursor=adas_cursor)
        first = calls.list_user_interactions("ada", query)
        assert ids(calls.list_user_interactions("ada", query).interactions) == ids(
            first.interactions
        )

    def test_the_size_of_the_page_may_change_on_the_way(self, calls, adas_cursor):
        page = calls.list_user_interactions("ada", PageQuery(limit=10, cursor=adas_cursor))
        assert ids(page.interactions) == ["ada-2", "ada-1", "ada-0"]

    @pytest.mark.parametrize("user_id", ["bob", "Ada", "None", "nobody"])
    def test_a_cursor_of_another_user_is_refused(self, calls, adas_cursor, user_id):
        with pytest.raises(InvalidCursor):
            calls.list_user_interactions(user_id, PageQuery(cursor=adas_cursor))

    def test_a_users_cursor_is_refused_for_everyone(self, calls, adas_cursor):
        with pytest.raises(InvalidCursor):
            calls.list_interactions(PageQuery(cursor=adas_cursor))

    @pytest.mark.parametrize("user_id", ["ada", "None"])
    def test_everyones_cursor_is_refused_for_a_user(self, calls, everyones_cursor, user_id):
        with pytest.raises(InvalidCursor):
            calls.list_user_interactions(user_id, PageQuery(cursor=everyones_cursor))

    @pytest.mark.parametrize(
        "filters",
        [
            {"created_after": at()},
            {"created_before": at(hours=3)},
            {"created_after": at(), "created_before": at(hours=3)},
        ],
        ids=lambda filters: "+".join(filters),
    )
    def test_a_cursor_of_other_filters_is_refused(self, calls, adas_cursor, filters):
        with pytest.raises(InvalidCursor):
            calls.list_user_interactions("ada", PageQuery(cursor=adas_cursor, **filters))
        filtered = calls.list_user_interactions("ada", PageQuery(limit=1, **filters)).next_cursor
        with pytest.raises(InvalidCursor):
            calls.list_user_interactions("ada", PageQuery(cursor=filtered))
        moved = {name: at(minutes=1) for name in filters}
        with pytest.raises(InvalidCursor):
            calls.list_user_interactions("ada", PageQuery(cursor=filtered, **moved))

    def test_created_after_and_created_before_are_not_confused(self, storage, four_each):
        cursor = storage.list_user_interactions_sync(
            "ada", PageQuery(limit=1, created_after=at(hours=1))
        ).next_cursor
        with pytest.raises(InvalidCursor):
            storage.list_user_interactions_sync(
                "ada", PageQuery(cursor=cursor, created_before=at(hours=1))
            )

    def test_a_cursor_changed_anywhere_is_refused(self, storage, adas_cursor):
        alphabet = string.ascii_letters + string.digits + "-_:."
        for position, original in enumerate(adas_cursor):
            other = alphabet[(alphabet.index(original) + 1) % len(alphabet)]
            changed = adas_cursor[:position] + other + adas_cursor[position + 1 :]
            with pytest.raises(InvalidCursor):
                storage.list_user_interactions_sync("ada", PageQuery(cursor=changed))

    def test_a_cursor_cut_or_lengthened_is_refused(self, storage, adas_cursor):
        for changed in (
            adas_cursor[:-1],
            adas_cursor[1:],
            adas_cursor + "A",
            adas_cursor + "=",
            adas_cursor + "\n",
            " " + adas_cursor,
            adas_cursor * 2,
        ):
            with pytest.raises(InvalidCursor):
                storage.list_user_interactions_sync("ada", PageQuery(cursor=changed))

    @pytest.mark.parametrize("cursor", GARBAGE, ids=short)
    def test_garbage_is_refused(self, storage, cursor):
        with pytest.raises(InvalidCursor):
            storage.list_user_interactions_sync("ada", PageQuery(cursor=cursor))
        with pytest.raises(InvalidCursor):
            storage.list_interactions_sync(PageQuery(cursor=cursor))

    def test_the_refusal_says_what_to_do(self, storage):
        with pytest.raises(InvalidCursor, match="start again without a cursor"):
            storage.list_interactions_sync(PageQuery(cursor="x"))
