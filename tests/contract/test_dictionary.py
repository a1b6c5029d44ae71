"""A storage over dictionaries keeps the contract: `storage.database` lists all that a backend owes.

No test here may use the SQL database: pytest-django refuses it.
"""

import pytest
from django.conf import settings

from storage.archive.archive import configured_archive
from storage.cache.in_memory import InMemoryCache
from storage.cache.memory import MemoryCache
from storage.interface import Storage
from tests.contract.contract import StorageContract
from tests.contract.dictionary import DictionaryDatabase


class TestDictionaryStorage(StorageContract):
    @pytest.fixture
    def storage(self):
        database = DictionaryDatabase()
        values = MemoryCache("dictionary", {})
        values.clear()
        cache = InMemoryCache(values, database.changes, settings.CACHE_TTL)
        return Storage(database, cache, configured_archive())
