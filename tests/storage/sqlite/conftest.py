"""A database whose writers have more patience than a test takes."""

import pytest
from django.core.cache import caches

from storage.archive.archive import configured_archive
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
