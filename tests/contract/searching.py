"""Searches: one list from hot to cold, every combination of filters, in bounded steps."""

from datetime import UTC, datetime, timedelta

import pytest

from storage import searching
from storage.archive import lists
from storage.database import Database
from storage.exceptions import InvalidCursor, InvalidSearch, SearchTooWide
from storage.records import searches
from storage.records.searches import TEXT_MAX, Search
from tests.contract.calls import at, ids, newest_first
from tests.contract.finding_text import FindingTextContract, all_pages, found_by


class SearchingContract(FindingTextContract):
    def test_a_record_says_which_tier_it_is_in(self, storage, mixed):
        _, cold = mixed
        records = [record for page in all_pages(storage) for record in page.records]
        assert {
            record["interaction_id"] for record in records if record.get("tier") == "archive"
        } == cold
        assert {record.get("tier") for record in records} == {"archive", None}

    def test_the_coroutine_and_the_interactions_of_a_page(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="one"))
        page = calls.search_interactions(Search(user_id="ada"))
        assert (ids(page.interactions), page.next_cursor, page.searched_until) == (
            ["one"],
            None,
            None,
        )
        assert "ada" not in repr(Search(user_id="ada", text="secret"))
        assert "B-tree" not in repr(page)

    def test_a_page_says_how_far_it_has_come(self, storage, make_interaction, monkeypatch):
        monkeypatch.setattr(type(storage.database), "examined_at_most", 10)
        storage.create_interactions_sync(
            [make_interaction(created_at=at(hours=n)) for n in range(25)]
        )
        pages = all_pages(storage, model_used="none")
        assert [page.searched_until for page in pages] == [at(hours=15), at(hours=5), None]
        assert [page.records for page in pages] == [[], [], []]

    def test_no_time_left_means_small_steps_and_not_none(self, storage, mixed, monkeypatch):
        rows, _ = mixed
        monkeypatch.setattr(searching, "SECONDS", -1.0)
        fields = {"model_used": "model-1", "limit": 200}
        wanted = [row for row in rows if row.model_used == "model-1"]
        assert found_by(storage, **fields) == ids(newest_first(wanted))

    @pytest.mark.parametrize("at_once", [1, 2, 3])
    def test_small_steps_through_the_archive_leave_out_no_id(
        self, storage, to_archive, make_interaction, monkeypatch, at_once
    ):
        monkeypatch.setattr(searching, "SECONDS", -1.0)
        monkeypatch.setattr(lists, "AT_ONCE", at_once)
        rows = [
            make_interaction(interaction_id=f"{first}{n}", created_at=at(minutes=n % 2))
            for n in range(4)
            for first in ("\U0010ffff", "\U0010ffff\U0010ffff", "a")
        ]
        storage.create_interactions_sync(rows)
        for row in rows:
            to_archive([row])
        assert found_by(storage, limit=1) == ids(newest_first(rows))

    @pytest.mark.parametrize("limit", [12, 100])
    def test_an_archive_run_between_two_reads_of_a_page_hides_and_doubles_nothing(
        self, storage, mixed, to_archive, monkeypatch, limit
    ):
        rows, cold = mixed
        hot = [row for row in newest_first(rows) if row.interaction_id not in cold]
        search = storage.database.search

        def move_some():
            moving, hot[:] = hot[: limit // 2], hot[limit // 2 :]
            to_archive(moving)

        def overtaken(*arguments):
            move_some()
            answer = search(*arguments)
            move_some()
            return answer

        monkeypatch.setattr(storage.database, "search", overtaken)
        assert found_by(storage, limit=limit) == ids(newest_first(rows))
        assert hot == []

    @pytest.mark.parametrize("limit", [12, 100])
    def test_what_becomes_hot_between_two_reads_of_a_page_is_found(
        self, storage, mixed, monkeypatch, limit
    ):
        rows, cold = mixed
        left = [row for row in newest_first(rows) if row.interaction_id in cold]
        search = storage.database.search

        def move_some():
            moving, left[:] = left[: limit // 2], left[limit // 2 :]
            for stub in storage.database.stubs(ids(moving)).values():
                back = [row for row in moving if row.interaction_id == stub.interaction_id]
                assert storage.return_from_cold(back, stub.segment) == 1

        def overtaken(*arguments):
            move_some()
            answer = search(*arguments)
            move_some()
            return answer

        monkeypatch.setattr(storage.database, "search", overtaken)
        assert found_by(storage, limit=limit) == ids(newest_first(rows))
        assert left == []

    def test_a_deleted_or_erased_one_is_found_no_more(self, storage, mixed):
        rows, cold = mixed
        gone = {
            next(iter(sorted(cold))),
            next(row.interaction_id for row in rows if row.interaction_id not in cold),
        }
        for interaction_id in gone:
            assert storage.delete_interaction_sync(interaction_id)
        assert set(found_by(storage, limit=200)) == set(ids(rows)) - gone

    def test_the_archive_is_not_read_for_a_page_of_new_ones(
        self, storage, make_interaction, mixed, monkeypatch
    ):
        now = datetime.now(UTC)
        new = [make_interaction(created_at=now - timedelta(seconds=n)) for n in range(30)]
        storage.create_interactions_sync(new)
        storage.search_interactions_sync(Search(limit=20))  # learns the newest archived day

        def fail(*arguments):
            pytest.fail("the archive was read")

        for name in ("listdir", "open", "exists"):
            monkeypatch.setattr(storage.archive.files.backend, name, fail)
        page = storage.search_interactions_sync(Search(limit=20))
        assert ids(page.interactions) == ids(newest_first(new))[:20]

    @pytest.mark.parametrize("fields", [{}, {"answered": True}, {"tier": "archive"}])
    def test_a_page_of_long_texts_ends_early(
        self, storage, make_interaction, to_archive, monkeypatch, fields
    ):
        monkeypatch.setattr(searches, "PAGE_TEXT", 1000)
        made = [make_interaction(created_at=at(seconds=n), message="m" * 300) for n in range(10)]
        storage.create_interactions_sync(made)
        to_archive(made if fields.get("tier") else made[:5])
        pages = all_pages(storage, **fields)
        found = [record["interaction_id"] for page in pages for record in page.records]
        assert found == ids(newest_first(made))
        assert [len(page.records) for page in pages] == [4, 4, 2]

    def test_a_cursor_belongs_to_its_search(self, storage, mixed):
        cursor = storage.search_interactions_sync(Search(user_id="ada", limit=1)).next_cursor
        for other in (
            {"user_id": "bob"},
            {"user_id": "ada", "answered": True},
            {"user_id": "ada", "text": "x"},
        ):
            with pytest.raises(InvalidCursor):
                storage.search_interactions_sync(Search(cursor=cursor, **other))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("text", "x" * (TEXT_MAX + 1)),
            ("text", "... 🙂"),
            ("text", "a\0"),
            ("text", "\ud800x"),
            ("user_id", ""),
            ("model_used", "x" * 256),
            ("tokens_min", -1),
            ("tokens_max", 2**53),
            ("tier", "cold"),
        ],
    )
    def test_what_cannot_be_searched_says_why(self, storage, field, value):
        with pytest.raises(InvalidSearch) as error:
            storage.search_interactions_sync(Search(**{field: value}))
        assert list(error.value.violations) == [field]

    def test_a_limit_and_a_range_that_cannot_be(self, storage):
        with pytest.raises(ValueError, match="at least 1"):
            storage.search_interactions_sync(Search(limit=0))
        with pytest.raises(InvalidSearch, match="at least tokens_min"):
            storage.search_interactions_sync(Search(tokens_min=5, tokens_max=4))

    def test_text_without_an_index_needs_a_user_or_a_period(self, storage, monkeypatch, settings):
        settings.RETENTION_TOTAL_DAYS = 90
        monkeypatch.setattr(type(storage.database), "find_text", Database.find_text)
        now = datetime.now(UTC)
        for wide in (
            {},
            {"created_after": now - timedelta(32)},
            {"created_before": now - timedelta(10)},
        ):
            with pytest.raises(SearchTooWide, match="within 31 days"):
                storage.search_interactions_sync(Search(text="x", **wide))
        for bounded in (
            {"user_id": "ada"},
            {"created_after": now - timedelta(30)},
            {"created_before": now - timedelta(70)},
        ):
            assert found_by(storage, text="x", **bounded) == []
