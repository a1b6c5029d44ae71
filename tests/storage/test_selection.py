"""Which backend `ENVIRONMENT` selects."""

import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from storage import get_storage, selection
from storage.sqlite.storage import LocalStorage


@pytest.fixture
def choose(settings):
    """Chooses an environment, as if the process had just started."""

    def choose(environment):
        settings.ENVIRONMENT = environment
        selection._storage_of.cache_clear()

    yield choose
    selection._storage_of.cache_clear()


@pytest.mark.parametrize("environment", ["development", "staging", "test", "Production", ""])
def test_any_name_but_production_selects_sqlite(choose, environment):
    choose(environment)
    assert isinstance(get_storage(), LocalStorage)


def test_production_is_refused_with_a_remedy(choose):
    choose("production")
    with pytest.raises(ImproperlyConfigured, match="Use another name, such as ENVIRONMENT="):
        get_storage()


def test_production_is_refused_each_time(choose):
    choose("production")
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured):
            get_storage()


def test_there_is_one_storage_for_all_threads():
    found = []
    threads = [threading.Thread(target=lambda: found.append(get_storage())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(storage) for storage in found} == {id(get_storage())}


def test_another_process_gets_a_storage_of_its_own(choose, monkeypatch):
    ours = get_storage()
    monkeypatch.setattr(selection.os, "getpid", lambda: -1)
    assert get_storage() is not ours
