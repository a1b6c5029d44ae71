"""Which backend `ENVIRONMENT` selects."""

import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from storage import get_storage
from storage.interface import CloudStorage, LocalStorage
from storage.startup import selection


@pytest.fixture
def choose(settings):
    """Chooses an environment, as if the process had just started."""

    def choose(environment):
        settings.ENVIRONMENT = environment
        settings.AWS_REGION = "eu-central-1"
        selection._storage_of.cache_clear()

    yield choose
    selection._storage_of.cache_clear()


@pytest.mark.parametrize("environment", ["development", "staging", "test", "Production", ""])
def test_any_name_but_production_selects_sqlite(choose, environment):
    choose(environment)
    assert isinstance(get_storage(), LocalStorage)


def test_production_selects_dynamodb(choose):
    choose("production")
    assert isinstance(get_storage(), CloudStorage)


def test_dynamodb_is_asked_in_the_table_that_the_settings_name(
    choose, settings, dynamodb_server, make_interaction
):
    settings.DYNAMODB_TABLE = "selected"
    settings.DYNAMODB_ENDPOINT_URL = dynamodb_server.url
    settings.CACHES = {"default": settings.NO_CACHE}
    choose("production")
    from storage.dynamodb import table
    from storage.dynamodb.configured import configured_client

    table.create(configured_client())
    interaction = make_interaction()
    get_storage().save_interaction_sync(interaction)
    key = {"interaction_id": {"S": interaction.interaction_id}}
    assert "Item" in configured_client().call("GetItem", Key=key)


def test_to_select_dynamodb_asks_no_server(choose, settings):
    settings.DYNAMODB_ENDPOINT_URL = "http://127.0.0.1:1"
    choose("production")
    get_storage()


def test_production_without_a_region_is_refused_each_time_with_a_remedy(choose, settings):
    choose("production")
    settings.AWS_REGION = ""
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match=r"AWS_REGION.* such as eu-central-1"):
            get_storage()


def test_there_is_one_storage_for_all_threads():
    found = []
    threads = [threading.Thread(target=lambda: found.append(get_storage())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(storage) for storage in found} == {id(get_storage())}


@pytest.mark.parametrize("environment", ["development", "production"])
def test_another_process_gets_a_storage_of_its_own(choose, monkeypatch, environment):
    choose(environment)
    ours = get_storage()
    monkeypatch.setattr(selection.os, "getpid", lambda: -1)
    assert get_storage() is not ours
