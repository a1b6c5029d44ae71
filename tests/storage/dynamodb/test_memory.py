"""What a process keeps of botocore and of the table's stream, whatever happens at once."""

import gc
import threading
import tracemalloc
from datetime import UTC, datetime

import pytest
from botocore.session import Session
from django.core.cache.backends.dummy import DummyCache

from storage.dynamodb import mirror, stream
from storage.dynamodb.client import Client
from tests import clouds

THREADS = 8


@pytest.fixture
def cloud(dynamodb_model, transactional_db):
    return clouds.make_storage(dynamodb_model, DummyCache("", {}))


def test_threads_that_call_at_once_share_one_session_and_client(
    cloud, dynamodb_server, monkeypatch
):
    """Each further session with a client would keep some 10 MB of descriptions of AWS."""
    made, create = [], Session.create_client

    def note(session, service, *args, **kwargs):
        made.append((id(session), service))
        return create(session, service, *args, **kwargs)

    monkeypatch.setattr(Session, "create_client", note)
    table = cloud.database.client.table
    client = Client(mirror.bound(table, clouds.REGION, dynamodb_server.url, THREADS), THREADS)
    client.table = table
    barrier = threading.Barrier(THREADS)

    def call():
        barrier.wait()
        client.call("GetItem", Key={"interaction_id": {"S": "i"}})
        stream.shards(client, stream.current(client).arn)

    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions, services = zip(*made, strict=True)
    assert sorted(services) == ["dynamodb", "dynamodbstreams"]
    assert len(set(sessions)) == 1


def test_following_many_changes_takes_no_more_memory_than_some(cloud, make_interaction):
    """After the first full page the process would keep as much as that took, in pieces."""
    today = datetime.now(UTC)

    def write(first, end):
        rows = [
            make_interaction(interaction_id=f"i{n}", created_at=today, response="r" * 500)
            for n in range(first, end)
        ]
        cloud.create_interactions_sync(rows)

    def peak():
        gc.collect()
        tracemalloc.start()
        try:
            assert cloud.database.count_usage(60) is not None
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    cloud.database.count_usage(60)
    write(0, 500)
    some = peak()
    write(500, 2000)
    assert peak() < 1.5 * some
