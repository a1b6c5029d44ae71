"""LocalStorage (SQLite, memory) keeps the contract."""

import pytest

from storage import get_storage
from storage.interface import LocalStorage
from tests.contract.contract import StorageContract
from tests.contract.usage import CountedUsageContract


# `available_apps`: emptying the tables of every application after each of some 400 tests would
# take longer than the tests.
@pytest.mark.django_db(transaction=True, available_apps=["storage"])
class TestLocalStorage(StorageContract, CountedUsageContract):
    every_coroutine = True

    @pytest.fixture
    def storage(self):
        storage = get_storage()
        assert isinstance(storage, LocalStorage)
        return storage
