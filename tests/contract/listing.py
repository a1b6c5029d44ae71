"""The lists: order, limits, filters, pages. Cursors are in `cursors.py`."""

import random
from datetime import timedelta, timezone

import pytest

from storage.records import pages
from storage.records.json import dumps, to_json
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from tests.contract.calls import (
    SynchronousCalls,
    at,
    everyones_pages,
    fields,
    ids,
    newest_first,
    rows_of,
    short,
    user_pages,
)
from tests.contract.reading import IMPOSSIBLE_IDS


class ListingContract:
    def test_the_newest_come_first(self, calls, make_interaction):
        for name, hours in (("middle", 2), ("newest", 3), ("oldest", 1)):
            calls.save_interaction(
                make_interaction(interaction_id=name, created_at=at(hours=hours))
            )
        expected = ["newest", "middle", "oldest"]
        assert ids(calls.get_user_interactions("ada", 10)) == expected
        assert ids(calls.list_user_interactions("ada", PageQuery()).interactions) == expected
        assert ids(calls.list_interactions(PageQuery()).interactions) == expected

    @pytest.mark.parametrize("microsecond", [0, 1, 10, 100_000, 123_456, 999_999])
    def test_a_record_of_a_page_is_the_json_of_its_interaction(
        self, calls, make_interaction, microsecond
    ):
        created_at = at().replace(microsecond=microsecond)
        calls.save_interaction(
            make_interaction(interaction_id="i", message='ünï😀\n"\\', created_at=created_at)
        )
        stored = calls.get_interaction("i")
        for page in (
            calls.list_user_interactions("ada", PageQuery()),
            calls.list_interactions(PageQuery()),
        ):
            assert [dumps(record) for record in page.records] == [to_json(stored)]
        for page in (
            calls.list_user_interactions_json("ada", PageQuery()),
            calls.list_interactions_json(PageQuery()),
        ):
            assert page.items == [to_json(stored)]

    def test_a_page_of_json_escapes_as_one_interaction_does(self, calls, make_interaction):
        text = "".join(map(chr, range(1, 0x180))) + "\u2028\ud7ff\ue000\ufeff\uffff\U0010ffff"
        calls.save_interaction(make_interaction(interaction_id="i", message=text, response=text))
        (item,) = calls.list_interactions_json(PageQuery()).items
        assert item == calls.get_json("i")

    @pytest.mark.parametrize("max_text", [1, 60, 100, 119, 120, 121, 150, 400, 1000, 4_000_000])
    def test_a_page_of_json_ends_where_the_page_ends(
        self, calls, make_interaction, monkeypatch, max_text
    ):
        calls.create_interactions(
            [
                make_interaction(interaction_id=f"i-{n}", message="😀" * 20, response="ü" * 20)
                for n in range(5)
            ]
        )
        monkeypatch.setattr(pages, "PAGE_TEXT", max_text)
        for query in (PageQuery(), PageQuery(limit=4), PageQuery(limit=5), PageQuery(limit=1)):
            page = calls.list_user_interactions("ada", query)
            as_json = calls.list_user_interactions_json("ada", query)
            assert as_json.items == [dumps(record) for record in page.records]
            assert as_json.next_cursor == page.next_cursor

    def test_the_repr_of_a_page_has_no_texts(self, calls, make_interaction):
        calls.save_interaction(make_interaction(message="secret-1", response="secret-2"))
        assert "secret" not in repr(calls.list_interactions(PageQuery()))

    def test_listed_interactions_have_every_field(self, calls, make_interaction):
        interaction = make_interaction(created_at=at())
        calls.save_interaction(interaction)
        assert fields(calls.get_user_interactions("ada", 1)[0]) == fields(interaction)
        (listed,) = calls.list_interactions(PageQuery()).interactions
        assert fields(listed) == fields(interaction)

    def test_one_microsecond_decides_the_order(self, storage, make_interaction):
        # Among them a whole second: a store that drops ".000000" must not misplace it.
        times = [at().replace(microsecond=n) for n in (999_999, 0, 1, 10, 100_000)]
        for n, time in enumerate(times):
            storage.save_interaction_sync(make_interaction(interaction_id=str(n), created_at=time))
        listed = storage.get_user_interactions_sync("ada", 10)
        assert [i.created_at for i in listed] == sorted(times, reverse=True)

    def test_a_later_save_does_not_move_an_interaction(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="old", created_at=at()))
        calls.save_interaction(make_interaction(interaction_id="new", created_at=at(hours=1)))
        calls.save_interaction(make_interaction(interaction_id="old", created_at=at(hours=2)))
        assert ids(calls.get_user_interactions("ada", 10)) == ["new", "old"]

    def test_no_more_than_the_limit_are_given(self, calls, make_interaction):
        calls.create_interactions([make_interaction(created_at=at(hours=n)) for n in range(5)])
        listed = calls.get_user_interactions("ada", 3)
        assert [i.created_at for i in listed] == [at(hours=4), at(hours=3), at(hours=2)]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_is_an_error(self, calls, limit):
        with pytest.raises(ValueError, match="at least 1"):
            calls.get_user_interactions("ada", limit)
        with pytest.raises(ValueError, match="at least 1"):
            calls.list_interactions(PageQuery(limit=limit))

    def test_an_unknown_user_has_an_empty_page(self, calls, make_interaction):
        calls.save_interaction(make_interaction(user_id="ada"))
        page = calls.list_user_interactions("bob", PageQuery())
        assert (page.interactions, page.next_cursor) == ([], None)

    @pytest.mark.parametrize("user_id", IMPOSSIBLE_IDS, ids=short)
    def test_an_impossible_user_has_an_empty_page(self, storage, make_interaction, user_id):
        storage.save_interaction_sync(make_interaction())
        assert storage.get_user_interactions_sync(user_id, 10) == []

    @pytest.mark.parametrize(
        "other", ["Ada", "ada ", " ada", "ad\u0430", "ad", "adaa", "%", "a_a"], ids=short
    )
    def test_users_who_look_alike_never_mix(self, storage, make_interaction, other):
        storage.save_interaction_sync(make_interaction(interaction_id="adas", user_id="ada"))
        storage.save_interaction_sync(make_interaction(interaction_id="others", user_id=other))
        assert ids(storage.get_user_interactions_sync("ada", 10)) == ["adas"]
        assert ids(storage.get_user_interactions_sync(other, 10)) == ["others"]
        storage.delete_interaction_sync("others", user_id=other)
        assert ids(storage.get_user_interactions_sync("ada", 10)) == ["adas"]

    def test_everyones_list_has_every_user(self, calls, make_interaction):
        batch = [
            make_interaction(interaction_id=str(n), user_id=f"user-{n}", created_at=at(hours=n))
            for n in range(4)
        ]
        calls.create_interactions(batch)
        assert ids(calls.list_interactions(PageQuery()).interactions) == ["3", "2", "1", "0"]


class FilteringContract:
    @pytest.fixture
    def three_moments(self, storage, make_interaction):
        """Interactions of two users at NOON, one microsecond before, and one after."""
        for user_id in ("ada", "bob"):
            for name, microseconds in (("before", -1), ("noon", 0), ("after", 1)):
                storage.save_interaction_sync(
                    make_interaction(
                        interaction_id=f"{user_id}-{name}",
                        user_id=user_id,
                        created_at=at(microseconds=microseconds),
                    )
                )

    @pytest.mark.usefixtures("three_moments")
    def test_created_after_is_included(self, calls):
        query = PageQuery(created_after=at())
        listed = calls.list_user_interactions("ada", query).interactions
        assert ids(listed) == ["ada-after", "ada-noon"]
        listed = calls.list_interactions(query).interactions
        assert ids(listed) == ["bob-after", "ada-after", "bob-noon", "ada-noon"]

    @pytest.mark.usefixtures("three_moments")
    def test_created_before_is_not_included(self, calls):
        query = PageQuery(created_before=at())
        assert ids(calls.list_user_interactions("ada", query).interactions) == ["ada-before"]
        assert ids(calls.list_interactions(query).interactions) == ["bob-before", "ada-before"]

    @pytest.mark.usefixtures("three_moments")
    def test_periods_that_touch_neither_overlap_nor_leave_a_gap(self, storage):
        earlier = storage.list_interactions_sync(PageQuery(created_before=at()))
        later = storage.list_interactions_sync(PageQuery(created_after=at()))
        together = ids(later.interactions + earlier.interactions)
        assert together == ids(storage.list_interactions_sync(PageQuery()).interactions)

    @pytest.mark.usefixtures("three_moments")
    def test_an_empty_period_has_an_empty_page(self, calls):
        query = PageQuery(created_after=at(), created_before=at())
        page = calls.list_user_interactions("ada", query)
        assert (page.interactions, page.next_cursor) == ([], None)

    @pytest.mark.usefixtures("three_moments")
    def test_a_filter_means_an_instant_whatever_its_offset(self, storage):
        query = PageQuery(created_after=at().astimezone(timezone(timedelta(hours=-7))))
        listed = storage.list_user_interactions_sync("ada", query).interactions
        assert ids(listed) == ["ada-after", "ada-noon"]

    def test_filters_hold_on_every_page(self, calls, make_interaction):
        batch = [make_interaction(created_at=at(minutes=n)) for n in range(30)]
        calls.create_interactions(batch)
        wanted = newest_first(batch[5:25])
        filters = {"created_after": at(minutes=5), "created_before": at(minutes=25), "limit": 6}
        pages = user_pages(calls, "ada", **filters)
        assert ids(rows_of(pages)) == ids(wanted)
        assert ids(rows_of(everyones_pages(calls, **filters))) == ids(wanted)
        assert [len(page.interactions) for page in pages] == [6, 6, 6, 2]


class PagingContract:
    @pytest.mark.parametrize("everyone", [False, True])
    def test_a_page_of_long_texts_ends_early_and_says_that_more_follow(
        self, calls, make_interaction, monkeypatch, everyone
    ):
        monkeypatch.setattr(pages, "PAGE_TEXT", 1000)
        for number in range(10):
            calls.create_interaction(
                make_interaction(
                    interaction_id=f"i{number}",
                    message="m" * 200,
                    response="😀" * 100,
                    created_at=at(seconds=number),
                )
            )
        found = everyones_pages(calls, limit=9) if everyone else user_pages(calls, "ada", limit=9)
        assert [len(page.records) for page in found] == [4, 4, 2]
        assert ids(rows_of(found)) == [f"i{number}" for number in range(9, -1, -1)]
        # Who asks for so many gets so many.
        assert len(calls.get_user_interactions("ada", 9)) == 9

    def test_a_page_may_end_with_the_last_row_whatever_its_length(
        self, calls, make_interaction, monkeypatch
    ):
        monkeypatch.setattr(pages, "PAGE_TEXT", 1000)
        calls.create_interaction(make_interaction(message="m" * 5000))
        assert [len(page.records) for page in user_pages(calls, "ada", limit=9)] == [1]

    @pytest.mark.parametrize(("limit", "more"), [(6, True), (7, False), (8, False)])
    def test_there_is_a_cursor_exactly_when_there_is_more(
        self, calls, make_interaction, limit, more
    ):
        calls.create_interactions([make_interaction(created_at=at(hours=n)) for n in range(7)])
        for page in (
            calls.list_user_interactions("ada", PageQuery(limit=limit)),
            calls.list_interactions(PageQuery(limit=limit)),
        ):
            assert len(page.interactions) == min(limit, 7)
            assert (page.next_cursor is not None) is more

    def test_the_last_full_page_has_no_cursor(self, calls, make_interaction):
        calls.create_interactions([make_interaction(created_at=at(hours=n)) for n in range(6)])
        assert [len(page.interactions) for page in user_pages(calls, "ada", limit=2)] == [2, 2, 2]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 23])
    def test_pages_through_one_timestamp_lose_nothing(self, storage, make_interaction, limit):
        names = [f"{n:02}" for n in range(24)]
        random.Random(limit).shuffle(names)
        storage.create_interactions_sync(
            [make_interaction(interaction_id=name, created_at=at()) for name in names]
        )
        expected = sorted(names, reverse=True)
        found = {"ada": [], "everyone": []}
        query = PageQuery(limit=limit)
        for name, read in (
            ("ada", lambda q: storage.list_user_interactions_sync("ada", q)),
            ("everyone", storage.list_interactions_sync),
        ):
            page = read(query)
            found[name] += ids(page.interactions)
            while page.next_cursor:
                page = read(PageQuery(limit=limit, cursor=page.next_cursor))
                found[name] += ids(page.interactions)
        assert found == {"ada": expected, "everyone": expected}

    def test_equal_times_are_ordered_by_code_point(self, storage, make_interaction):
        # UTF-16 order would put the emoji before U+FFFD.
        names = ["A", "a", "~", "é", "\ufffd", "😀", "aa"]
        storage.create_interactions_sync(
            [make_interaction(interaction_id=name, created_at=at()) for name in names]
        )
        listed = ids(storage.get_user_interactions_sync("ada", 10))
        assert listed == sorted(names, reverse=True)

    def test_hundreds_are_paged_completely_and_in_order(self, calls, make_interaction):
        self._page_all(calls, make_interaction, 320, limit=50)

    @pytest.mark.exhaustive
    def test_thousands_are_paged_completely_and_in_order(self, calls, make_interaction):
        self._page_all(calls, make_interaction, 2500, limit=200)

    def _page_all(self, calls, make_interaction, count, limit):
        shuffled = random.Random(1)
        batch = [
            make_interaction(
                interaction_id=f"{n:04}", created_at=at(seconds=shuffled.randrange(300))
            )
            for n in range(count)
        ]
        others = [make_interaction(user_id="bob", created_at=at(seconds=n)) for n in range(100)]
        for start in range(0, count, 1000):
            calls.create_interactions(batch[start : start + 1000])
        calls.create_interactions(others)
        pages = user_pages(calls, "ada", limit=limit)
        assert ids(rows_of(pages)) == ids(newest_first(batch))
        full, rest = divmod(count, limit)
        assert [len(page.interactions) for page in pages] == [limit] * full + [rest]

    def test_pages_of_the_largest_interactions_are_complete(self, storage, make_interaction):
        # More than DynamoDB puts into one answer: 1 MB of a query, 16 MB of a batch.
        batch = [
            make_interaction(
                interaction_id=f"{n:03}", created_at=at(seconds=n), message="é" * 65_000
            )
            for n in range(130)
        ]
        assert set(storage.create_interactions_sync(batch)) == {Outcome.CREATED}
        found = storage.get_user_interactions_sync("ada", 125)
        assert ids(found) == ids(newest_first(batch))[:125]
        assert {len(i.message) for i in found} == {65_000}
        found = user_pages(SynchronousCalls(storage), "ada", limit=125)
        assert ids(rows_of(found)) == ids(newest_first(batch))
        assert [len(page.records) for page in found] == [62, 62, 6]
        assert {len(i.message) for i in rows_of(found)} == {65_000}

    def test_what_is_added_while_paging_repeats_nothing(self, calls, make_interaction):
        calls.create_interactions(
            [make_interaction(interaction_id=str(n), created_at=at(hours=n)) for n in range(4)]
        )
        first = calls.list_user_interactions("ada", PageQuery(limit=2))
        calls.save_interaction(make_interaction(interaction_id="newer", created_at=at(hours=9)))
        second = calls.list_user_interactions("ada", PageQuery(2, first.next_cursor))
        assert ids(first.interactions + second.interactions) == ["3", "2", "1", "0"]

    def test_what_is_deleted_while_paging_loses_nothing_else(self, calls, make_interaction):
        calls.create_interactions(
            [make_interaction(interaction_id=str(n), created_at=at(hours=n)) for n in range(4)]
        )
        first = calls.list_user_interactions("ada", PageQuery(limit=2))
        calls.delete_interaction("2")  # where the cursor points to
        second = calls.list_user_interactions("ada", PageQuery(2, first.next_cursor))
        assert ids(second.interactions) == ["1", "0"]
