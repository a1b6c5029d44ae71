"""The machines, and what they share."""

import threading
from pathlib import Path

import pytest

from storage.dynamodb import table
from storage.dynamodb.client import Client
from tests import buckets, clouds
from tests.chat.processes import Server, run
from tests.postgresql import PostgreSQL


class Machine:
    """A folder, in which commands run and a server."""

    def __init__(self, folder: Path, shared: dict[str, str]) -> None:
        self.folder = folder
        self.shared = shared
        folder.mkdir()

    def manage(self, *words, **values):
        return run(self.folder, *words, **{**self.shared, **values})

    def serve(self):
        self.server = Server(self.folder, **self.shared)

    def get(self, path, key="", **headers):
        headers |= {"Authorization": f"Api-Key {key}"} if key else {}
        return self.server.request("GET", path, headers=headers)


@pytest.fixture(scope="module")
def postgresql():
    server = PostgreSQL()
    server.create(name="accounts")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory, postgresql, dynamodb_model, dynamodb_server, s3_server, valkey_server
):
    """Two of them, whose servers were started at the same moment on a new database."""
    folder = tmp_path_factory.mktemp("machines")
    bucket = buckets.make_bucket(s3_server.url)
    client = Client(dynamodb_model, clouds.CONNECTIONS)
    client.table = "machines"
    client.manage("CreateTable", TableName=client.table, **table.definition())
    shared = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "a secret key that is long enough for this test",
        "HTTPS": "false",
        "ALLOWED_HOSTS": "127.0.0.1",
        "AWS_REGION": clouds.REGION,
        "DYNAMODB_TABLE": client.table,
        "DYNAMODB_ENDPOINT_URL": dynamodb_server.url,
        "ARCHIVE_BUCKET": bucket.bucket_name,
        "ARCHIVE_ENDPOINT_URL": s3_server.url,
        "REDIS_URL": f"redis://127.0.0.1:{valkey_server.port}/0",
        "DATABASE_URL": postgresql.url("accounts"),
        "LOGIN_TRIES": "0",
    }
    found = [Machine(folder / name, shared) for name in ("first", "second")]
    starting = [threading.Thread(target=machine.serve) for machine in found]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    for machine in found:
        machine.server.wait_until_it_answers()
    yield found
    for machine in found:
        machine.server.stop()
