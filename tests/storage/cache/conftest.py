"""A cloud storage whose cells and whose reads of the database can be looked at."""

import fakeredis
import pytest
import redis
from redis.cluster import RedisCluster

from storage.cache import keys
from storage.cache.redis_cells import RedisCells
from storage.records.questions import Question
from tests import clouds


class EvictableCells(RedisCells):
    """Cells that can be made to go."""

    def delete(self, key):
        self._client.delete(key)


@pytest.fixture(params=clouds.REDIS)
def cache_url(request):
    """A server's, then a cluster's."""
    return clouds.redis_url(request.getfixturevalue(request.param), 3)


@pytest.fixture
def raw(cache_url):
    """The cache as anyone may see and change it who reaches the server."""
    if "+cluster" in cache_url:
        client = RedisCluster.from_url(cache_url.replace("+cluster", ""))
    else:
        client = redis.Redis.from_url(cache_url)
    yield client
    client.close()


@pytest.fixture
def cloud(dynamodb_model, cache_url):
    return clouds.make_storage(dynamodb_model, clouds.make_cache(cache_url, **clouds.PATIENT))


@pytest.fixture
def reads(cloud, monkeypatch):
    """The ids that were read from the database, one by one, and the questions that were asked."""
    asked = []
    item, find = cloud.database._item, cloud.database.find_answer

    def counting_item(interaction_id):
        asked.append(interaction_id)
        return item(interaction_id)

    def counting_find(question, read):
        asked.append(question)
        return find(question, read)

    monkeypatch.setattr(cloud.database, "_item", counting_item)
    monkeypatch.setattr(cloud.database, "find_answer", counting_find)
    return asked


QUESTION = Question("ada", "What is a B-tree?")
ID_KEY = keys.interaction_key("i")
ANSWER_KEY = keys.answer_key(QUESTION)


@pytest.fixture
def stored(cloud, raw, make_interaction):
    """The interaction `i`, an answer to QUESTION. Nothing is cached, and no mark is left."""
    interaction = make_interaction(interaction_id="i", message=QUESTION.message)
    cloud.save_interaction_sync(interaction)
    for key in (ID_KEY, *keys.answer_keys(interaction)):
        raw.delete(key)
    return interaction


MARKER = "marker-7f3a"


def everything(raw):
    """Each key with what is there, as text."""
    if isinstance(raw, RedisCluster):
        found = raw.scan_iter(count=1000, target_nodes=RedisCluster.PRIMARIES)
    else:
        found = raw.scan_iter(count=1000)
    return {key.decode(): (raw.get(key) or b"").decode() for key in found}


def traces(raw, text):
    return [key for key, value in everything(raw).items() if text in key or text in value]


@pytest.fixture
def save(cloud, make_interaction):
    """Saves an interaction, which then is in the cache by id and as an answer; gives it."""

    def save(interaction_id, user_id="ada", message=MARKER):
        interaction = make_interaction(
            interaction_id=interaction_id, user_id=user_id, message=message
        )
        cloud.save_interaction_sync(interaction)
        for key in keys.answer_keys(interaction):
            EvictableCells(cloud.cache.server).delete(key)
        for _ in range(2):
            assert cloud.find_answer_sync(Question(user_id, message)) is not None
            cloud.get_interaction_sync(interaction_id)
        return interaction

    return save


@pytest.fixture(params=["fakeredis", *clouds.REDIS])
def cells(request):
    """The cells of each kind of server."""
    if request.param == "fakeredis":
        cache = clouds.make_cache(
            "redis://fakeredis/1", connection_class=fakeredis.FakeRedisConnection
        )
    else:
        server = request.getfixturevalue(request.param)
        cache = clouds.make_cache(clouds.redis_url(server, 1), **clouds.PATIENT)
    return EvictableCells(cache)
