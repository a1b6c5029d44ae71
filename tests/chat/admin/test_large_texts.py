"""Pages of staff fetch no large texts that they do not show: a list would read up to 400 MB."""

import json

import pytest

from chat.admin.masking import LONG_HIDDEN
from chat.admin.rows import LONG
from storage.large.texts import LargeTexts
from storage.records import searches, texts
from storage.records.searches import Search
from tests.chat.calls import reveal
from tests.contract.calls import at, ids

pytestmark = pytest.mark.every_backend

LIST = "/admin/storage/chatinteraction/"
FIRST_WORDS = "The first words"
RESPONSE = "penguin " * 100


@pytest.fixture
def saved(storage, make_interaction, monkeypatch):
    """A large message, a large response, and neither, by a user."""
    monkeypatch.setattr(texts, "INLINE_MAX_BYTES", 400)
    pairs = [("m" * 500, ""), (f"{FIRST_WORDS} of it.", RESPONSE), ("short", "yes")]
    for number, (message, response) in enumerate(pairs):
        storage.save_interaction_sync(
            make_interaction(
                interaction_id=f"id-{number}",
                user_id="ada",
                message=message,
                response=response,
                model_used=f"model-{number % 2}",
                created_at=at(seconds=number),
            )
        )


@pytest.fixture
def fetched(monkeypatch):
    """The ids of interactions whose large texts are fetched."""
    found = []
    read_many = LargeTexts.read_many

    def counted(self, wanted):
        found.extend(interaction_id for _, interaction_id, _ in wanted)
        return read_many(self, wanted)

    monkeypatch.setattr(LargeTexts, "read_many", counted)
    return found


@pytest.mark.parametrize("query", ["", "?user_id=ada", "?model_used=model-0", "?answered=no"])
def test_a_list_fetches_no_large_text_and_says_where_one_is(root, saved, fetched, query):
    reveal(root, "ada")
    response = root.get(LIST + query)
    assert response.status_code == 200
    assert LONG in response.content.decode()
    assert fetched == []


def test_what_is_in_the_row_is_shown(root, saved, fetched):
    reveal(root, "ada")
    page = root.get(LIST).content.decode()
    assert FIRST_WORDS in page
    assert page.count("no answer") == page.count(LONG) == 1
    assert fetched == []


def test_a_hidden_text_is_hidden_though_it_is_not_fetched(root, saved, fetched):
    page = root.get(LIST).content.decode()
    assert LONG_HIDDEN in page
    assert LONG not in page
    assert fetched == []


def test_the_page_of_a_user_fetches_none(root, saved, fetched):
    page = root.get(f"{LIST}user/?user_id=ada").content.decode()
    assert all(f"id-{number}" in page for number in range(3))
    assert fetched == []


def test_words_are_looked_for_in_large_texts(root, saved, fetched):
    reveal(root, "ada")
    page = root.get(f"{LIST}?user_id=ada&q=penguin").content.decode()
    assert FIRST_WORDS in page
    assert "id-1" in fetched


def test_words_that_are_in_the_row_are_not_looked_for_elsewhere(root, saved, fetched):
    reveal(root, "ada")
    page = root.get(f"{LIST}?user_id=ada&q=first").content.decode()
    assert FIRST_WORDS in page
    assert "id-1" not in fetched


def test_a_conversation_fetches_a_text_once_it_shows_it(root, saved, fetched):
    url = f"{LIST}id-1/change/"
    for view in ("text", "raw", "json"):
        page = root.get(url, {"view": view}).content.decode()
        assert LONG_HIDDEN in page
        assert "large/" not in page, "the name of an object"
    assert fetched == []
    reveal(root, "ada")
    assert "penguin penguin" in root.get(url).content.decode()
    assert json.loads(root.get(url, {"view": "download"}).content)["response"] == RESPONSE
    assert fetched == ["id-1"] * 2


def test_the_turns_before_and_after_are_not_fetched(root, saved, fetched):
    reveal(root, "ada")
    assert FIRST_WORDS in root.get(f"{LIST}id-2/change/").content.decode()
    assert fetched == []
    page = root.get(f"{LIST}id-1/change/").content.decode()
    assert LONG in page
    assert fetched == ["id-1"]


def test_an_interaction_is_found_by_its_id_without_its_texts(root, saved, fetched):
    response = root.get(LIST, {"interaction_id": "id-1"})
    assert response.url == f"{LIST}id-1/change/"
    assert fetched == []


def test_what_is_hot_again_is_not_fetched_for_what_the_archive_has(root, storage, saved, fetched):
    """Its segment is still there, so a list looks at the rows once more."""
    rows = storage.hot_of_user("ada", 9)
    segment = storage.archive.new_segment(at().date())
    storage.archive.write(segment, rows)
    assert storage.move_to_cold(rows, segment) == 3
    assert storage.return_from_cold(rows, segment) == 3
    del fetched[:]
    reveal(root, "ada")
    assert LONG in root.get(LIST).content.decode()
    assert fetched == []


def test_a_page_is_as_long_as_what_it_has_in_memory(storage, saved, fetched, monkeypatch):
    monkeypatch.setattr(searches, "PAGE_TEXT", 600)
    found = storage.search_interactions_sync(Search(user_id="ada", whole_texts=False))
    assert ids(found.interactions) == ["id-2", "id-1", "id-0"]
    assert fetched == []
    found = storage.search_interactions_sync(Search(user_id="ada"))
    assert ids(found.interactions) == ["id-2"]
