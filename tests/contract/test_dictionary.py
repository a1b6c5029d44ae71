"""A storage over dictionaries keeps the contract: `storage.database` lists all that a backend owes.

No test here may use the SQL database: pytest-django refuses it.
"""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache.backends import locmem

from storage.archive.archive import configured_archive
from storage.cache.in_memory import InMemoryCache
from storage.cache.memory import MemoryCache
from storage.database import Database
from storage.interface import Storage
from tests.contract.contract import StorageContract
from tests.contract.dictionary import DictionaryDatabase

ROOT = Path(__file__).resolve().parent.parent.parent


class OnlyStrings:
    """The changes of a database that is as quick as a cache: no interaction is cached."""

    def version(self):
        return None

    last_version = committed_as = version

    def erasures(self):
        return 0


class TestDictionaryStorage(StorageContract):
    clock_of_cache = locmem

    @pytest.fixture
    def storage(self):
        values = MemoryCache("dictionary", {})
        values.clear()
        cache = InMemoryCache(values, OnlyStrings(), settings.CACHE_TTL)
        return Storage(DictionaryDatabase(), cache, configured_archive())


def test_the_guide_names_every_method_and_attribute():
    guide = (ROOT / "docs/how-to/add-a-backend.md").read_text(encoding="utf-8")
    owed = {name for name in (*vars(Database), *Database.__annotations__) if name[0] != "_"}
    assert owed - set(re.findall(r"`(\w+)`", guide)) == set()
