"""The search index finds what a full scan finds, whatever happens to it."""

import pytest

from storage import expiry
from storage.records import words
from storage.sqlite import text_index


@pytest.fixture
def indexed(storage, monkeypatch):
    """A storage with an index; a test makes the passes of its thread."""
    monkeypatch.setattr(text_index, "ENABLED", True)
    monkeypatch.setattr(text_index.Background, "wake", lambda self: None)
    monkeypatch.setattr(text_index, "PENDING_AT_MOST", 0)
    return storage


def find(storage, text, user_id=None, after=expiry.BEGINNING, before=None, limit=1000):
    found = storage.database.find_text(words.phrases(text), user_id, after, before, limit)
    return None if found is None else [interaction_id for _, interaction_id in found]


def test_what_was_saved_is_found(indexed, make_interaction):
    for number, message in enumerate(["Straße in Berlin", "the strasse", "東京タワー"]):
        indexed.save_interaction_sync(
            make_interaction(interaction_id=f"i{number}", message=message)
        )
    assert find(indexed, "STRASSE") == ["i1", "i0"]
    assert find(indexed, "stra ber") == ["i0"]
    assert find(indexed, "東京") == ["i2"]
    assert find(indexed, "strasse", user_id="bob") == []
    assert find(indexed, "tree", user_id="ada", limit=2) == ["i2", "i1"]
    indexed.delete_interaction_sync("i1")
    assert find(indexed, "STRASSE") == ["i0"]
