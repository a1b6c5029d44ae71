"""A database whose writers have more patience than a test takes."""

import pytest
from django.core.cache import caches

from storage.archive.archive import configured_archive
from storage.sqlite import text_index, text_state
from storage.startup.selection import local_storage
from tests.storage.sqlite.writers import PATIENT


@pytest.fixture
def patient(add_database):
    return add_database("patient", timeout=PATIENT)


@pytest.fixture
def patient_storage(patient):
    storage = local_storage(patient.alias, caches["default"], configured_archive())
    yield storage
    storage.runner.executor.shutdown()


@pytest.fixture
def indexed(storage, monkeypatch):
    """A storage with a search index, whose passes a test makes: there is no thread."""
    monkeypatch.setattr(text_index, "ENABLED", True)
    monkeypatch.setattr(text_index.Background, "wake", lambda self: None)
    monkeypatch.setattr(text_index, "PENDING_AT_MOST", 0)
    monkeypatch.setattr(text_index, "SEARCH_SECONDS", 300)  # whatever a busy machine takes
    monkeypatch.setattr(text_state, "PARTS", 400_000)  # of two days each
    yield storage
    monkeypatch.setattr(text_index, "ENABLED", False)
    storage.database.forget_user("nobody")  # deletes the file
