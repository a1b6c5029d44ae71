"""Searches: one list from hot to cold, every combination of filters, in bounded steps."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from storage import searching
from storage.database import Database
from storage.exceptions import InvalidCursor, InvalidSearch, SearchTooWide
from storage.records import searches, words
from storage.records.searches import TEXT_MAX, Search
from tests.contract.calls import at, ids, newest_first

VOCABULARY = {
    "database": {"data", "DATABASE", "datábase"},
    "Data": {"data"},
    "Čajovna": {"caj", "čajovna", "ČAJ"},
    "Straße": {"strasse", "STRASS"},
    "東京タワー": {"東京", "京タ", "タワー"},
    "naïve-bayes": {"bayes", "naive", "NAÏVE bay"},
    "x": set(),
}
"""Words of texts, each with all the searches of `QUERIES` that find it."""

QUERIES = sorted({query for found in VOCABULARY.values() for query in found} | {"ase", "京東"})

PERIOD = {"created_after": at(days=-2), "created_before": at(days=20)}


def all_pages(storage, **fields):
    """The pages of a search, from the first to the one without a cursor."""
    pages = [storage.search_interactions_sync(Search(**fields))]
    while (cursor := pages[-1].next_cursor) is not None:
        assert len(pages) < 2000, "the pages never end"
        pages.append(storage.search_interactions_sync(Search(**fields | {"cursor": cursor})))
    return pages


def found_by(storage, **fields):
    return [
        record["interaction_id"] for page in all_pages(storage, **fields) for record in page.records
    ]


class SearchingContract:
    @pytest.fixture
    def to_archive(self, storage):
        def move(interactions):
            for day in sorted({row.created_at.date() for row in interactions}):
                rows = [row for row in interactions if row.created_at.date() == day]
                segment = storage.archive.new_segment(day)
                storage.archive.write(segment, rows)
                assert storage.move_to_cold(rows, segment) == len(rows)

        return move

    @pytest.fixture
    def mixed(self, storage, make_interaction, to_archive):
        """Interactions of some days, many at equal times, in both tiers; and which are cold."""
        chance = random.Random(15)
        made = []
        for number in range(60):
            texts = [" ".join(chance.sample(sorted(VOCABULARY), 2)) for _ in range(2)]
            created_at = at(hours=chance.randrange(50))
            made.append(
                make_interaction(
                    interaction_id=f"i{number:02}",
                    user_id=chance.choice(["ada", "bob"]),
                    message=texts[0],
                    response=chance.choice([texts[1], ""]),
                    model_used=chance.choice(["model-1", "model-2"]),
                    input_tokens=chance.randrange(10),
                    output_tokens=chance.randrange(10),
                    created_at=created_at,
                    updated_at=created_at,
                )
            )
        storage.create_interactions_sync(made)
        cold = [
            row for row in made if chance.random() < (0.8 if row.created_at < at(hours=25) else 0.1)
        ]
        to_archive(cold)
        return made, set(ids(cold))

    @pytest.fixture(params=["rows", "index"])
    def by_index(self, request, storage, monkeypatch):
        """Whether the backend has an index of words; it lags, and is wrong about some."""

        def install(rows):
            if request.param == "rows":
                monkeypatch.setattr(type(storage.database), "find_text", Database.find_text)
                return

            def find_text(phrases, user_id, after, before, limit):
                stale = [row for row in rows if words.have([row.message, row.response], phrases)]
                stale += rows[:5]
                positions = {row.position for row in stale} | {
                    (at(hours=7), "gone"),
                    (at(), "i01"),
                }
                wanted = [
                    position
                    for position in sorted(positions, reverse=True)
                    if position[0] >= after and (before is None or position < before)
                ]
                return wanted[:limit]

            monkeypatch.setattr(storage.database, "find_text", find_text)

        return install

    @pytest.mark.parametrize("seed", range(2))
    def test_every_combination_finds_what_a_look_at_everything_finds(
        self, storage, mixed, by_index, monkeypatch, seed
    ):
        rows, cold = mixed
        by_index(rows)
        chance = random.Random(seed)
        monkeypatch.setattr(type(storage.database), "examined_at_most", chance.choice([5, 90]))
        monkeypatch.setattr(searching, "COLD_AT_MOST", chance.choice([9, 200]))
        monkeypatch.setattr(searching, "CANDIDATES", chance.choice([12, 500]))
        for _ in range(6):
            fields = some_of(
                chance,
                user_id=chance.choice(["ada", "bob", "eve"]),
                model_used=chance.choice(["model-1", "model-3"]),
                answered=chance.random() < 0.5,
                tokens_min=chance.randrange(18),
                tokens_max=18,
                tier=chance.choice(["hot", "archive"]),
                text=chance.choice(QUERIES),
                created_after=at(hours=chance.randrange(30)),
                created_before=at(hours=chance.randrange(30, 50)),
            )
            period = PERIOD | {"limit": chance.choice([4, 20, 200])} | fields
            wanted = [row for row in rows if is_wanted(row, row.interaction_id in cold, fields)]
            assert found_by(storage, **period) == ids(newest_first(wanted)), fields

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

    def test_the_longest_texts_are_searched_to_their_end(
        self, storage, make_interaction, to_archive
    ):
        long = "é" * 194_000
        made = [
            make_interaction(
                interaction_id=f"{n:02}", created_at=at(seconds=n), message=f"{long} Ende{n % 2}"
            )
            for n in range(4)
        ]
        storage.create_interactions_sync(made)
        to_archive(made[:2])
        pages = all_pages(storage, user_id="ada", text="ENDE1", limit=50)
        assert [r["interaction_id"] for page in pages for r in page.records] == ids(
            newest_first(made[1::2])
        )

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


def some_of(chance, **fields):
    return {name: value for name, value in fields.items() if chance.random() < 0.35}


def is_wanted(row, is_cold, fields):
    """Whether a full look finds a row; it knows nothing of how a search finds it."""
    tokens = row.input_tokens + row.output_tokens
    tests = {
        "user_id": lambda value: row.user_id == value,
        "model_used": lambda value: row.model_used == value,
        "answered": lambda value: bool(row.response) == value,
        "tokens_min": lambda value: tokens >= value,
        "tokens_max": lambda value: tokens <= value,
        "tier": lambda value: is_cold == (value == "archive"),
        "created_after": lambda value: row.created_at >= value,
        "created_before": lambda value: row.created_at < value,
        "text": lambda value: any(
            value in VOCABULARY[word] for word in f"{row.message} {row.response}".split()
        ),
    }
    return all(tests[name](value) for name, value in fields.items())
