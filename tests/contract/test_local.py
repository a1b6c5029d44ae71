"""LocalStorage (SQLite, memory) keeps the contract."""

import pytest
from django.core.cache.backends import locmem

from storage import get_storage
from storage.interface import LocalStorage
from storage.sqlite import text_index
from tests.contract.contract import StorageContract
from tests.contract.finding_text import FindingTextContract
from tests.contract.usage import CountedUsageContract


# `available_apps`: emptying the tables of every application after each of some 400 tests would
# take longer than the tests.
@pytest.mark.django_db(transaction=True, available_apps=["storage"])
class TestLocalStorage(StorageContract, CountedUsageContract):
    every_coroutine = True
    clock_of_cache = locmem

    @pytest.fixture
    def storage(self):
        storage = get_storage()
        assert isinstance(storage, LocalStorage)
        return storage


@pytest.mark.django_db(transaction=True, available_apps=["storage"])
class TestLocalStorageWithIndex(FindingTextContract):
    """Searches for texts, whose words an index finds; no other search asks it."""

    every_coroutine = False

    @pytest.fixture
    def storage(self, monkeypatch):
        monkeypatch.setattr(text_index, "ENABLED", True)
        monkeypatch.setattr(text_index.Background, "wake", lambda self: None)
        monkeypatch.setattr(text_index, "PENDING_AT_MOST", 0)
        monkeypatch.setattr(text_index, "SEARCH_SECONDS", 300)
        storage = get_storage()
        yield storage
        monkeypatch.setattr(text_index, "ENABLED", False)
        storage.database.forget_user("nobody")  # deletes the file

    @pytest.fixture
    def by_index(self, storage, monkeypatch):
        """The index as it is; for other backends, the contract makes one up."""
        find_text, found = storage.database.find_text, []

        def noted(*arguments):
            found.append(find_text(*arguments))
            return found[-1]

        monkeypatch.setattr(storage.database, "find_text", noted)
        yield lambda rows: None
        assert any(found), "the index was not used"
