"""Texts are found by their words, with whatever else is asked for, in both tiers."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from storage import searching
from storage.database import Database
from storage.exceptions import StorageUnavailable
from storage.records import words
from storage.records.searches import Search
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


class FindingTextContract:
    """What finds the words of texts, with an index and without one."""

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

    def test_a_search_of_hot_ones_does_not_depend_on_the_archive(
        self, storage, mixed, by_index, monkeypatch
    ):
        def unavailable(*_):
            raise StorageUnavailable("The archive does not answer.")

        rows, cold = mixed
        by_index(rows)
        monkeypatch.setattr(storage.archive, "find", unavailable)
        wanted = [
            row
            for row in newest_first(rows)
            if row.user_id == "ada"
            and row.interaction_id not in cold
            and words.have([row.message, row.response], words.phrases("data"))
        ]
        assert found_by(storage, text="data", user_id="ada", tier="hot") == ids(wanted)

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

    @pytest.fixture
    def named_by_words(self, storage, monkeypatch):
        """The ids that an index of words has named, and were then looked at."""
        monkeypatch.setattr(searching, "SECONDS", 300.0)
        monkeypatch.setattr(searching, "CANDIDATES", 12)
        looked_at, look_at = [], storage.database.look_at

        def noted(interaction_ids, *arguments):
            looked_at.extend(interaction_ids)
            return look_at(interaction_ids, *arguments)

        monkeypatch.setattr(storage.database, "look_at", noted)
        return looked_at

    def test_what_few_pass_of_a_common_word_is_looked_for_while_there_is_time(
        self, storage, make_interaction, by_index, named_by_words
    ):
        made = [
            make_interaction(
                interaction_id=f"{n:02}", created_at=at(seconds=n), model_used=f"model-{n}"
            )
            for n in range(60)
        ]
        storage.create_interactions_sync(made)
        by_index(made)
        page = storage.search_interactions_sync(
            Search(text="tree", user_id="ada", model_used="model-0", limit=4)
        )
        assert (ids(page.interactions), page.next_cursor) == (["00"], None)

    @pytest.mark.parametrize(("tier", "cold"), [("hot", 60), ("archive", 5)])
    def test_where_the_other_tier_begins_its_interactions_are_passed_over(
        self, storage, make_interaction, to_archive, by_index, named_by_words, tier, cold
    ):
        now = datetime.now(UTC)
        rows = [
            make_interaction(
                interaction_id=f"{n:02}",
                created_at=now - timedelta(days=50 if n < cold else 0, seconds=65 - n),
            )
            for n in range(65)
        ]
        storage.create_interactions_sync(rows)
        to_archive(rows[:cold])
        by_index(rows)
        page = storage.search_interactions_sync(Search(text="tree", user_id="ada", tier=tier))
        wanted = rows[:cold] if tier == "archive" else rows[cold:]
        assert (ids(page.interactions), page.next_cursor) == (ids(newest_first(wanted)), None)
        assert len(named_by_words) < 30

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
