"""The archive in an S3 bucket keeps the contract, and what S3 takes besides."""

import itertools
import socket
import threading
from contextlib import contextmanager, suppress

import pytest
from botocore.config import Config

from storage.archive import bucket as bucket_module
from storage.archive.archive import Archive
from storage.archive.bucket import ArchiveBucket
from storage.archive.files import Files
from storage.dynamodb.client import LONGEST_CALL
from storage.exceptions import StorageUnavailable
from tests import buckets, servers
from tests.storage.archive.contract import ArchiveContract, FilesContract, RowsContract
from tests.storage.archive.failing import WAYS
from tests.storage.archive.rows import DAY, fields, large_row, position, row


class InMinistack:
    @pytest.fixture
    def new_backend(self, dynamodb_server):
        return lambda: buckets.make_bucket(dynamodb_server.url)

    # A folder has all four in `make test`: what follows a failure is the same code.
    @pytest.fixture(params=[[1, 2], pytest.param([0, 3], marks=pytest.mark.exhaustive)])
    def ways(self, request):
        return [WAYS[number] for number in request.param]


class TestArchiveBucket(InMinistack, FilesContract):
    pass


@pytest.mark.exhaustive  # a folder keeps it, and a bucket the files that it is about
class TestRowsInBucket(InMinistack, RowsContract):
    pass


@pytest.fixture(scope="module")
def moto():
    server = servers.S3()
    yield server
    server.stop()


@pytest.fixture(
    scope="module", params=["dynamodb_server", pytest.param("moto", marks=pytest.mark.exhaustive)]
)
def s3_server(request):
    """ministack's. What follows holds on another S3 as well: moto's, whose start takes seconds."""
    return request.getfixturevalue(request.param)


@pytest.mark.exhaustive  # ministack's S3 keeps the same contract
class TestArchiveBucketOnMoto(ArchiveContract):
    @pytest.fixture
    def new_backend(self, moto):
        return lambda: buckets.make_bucket(moto.url)


class SilentServer:
    """Takes connections in, counts them, and answers nothing."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._kept = []
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def calls(self):
        return len(self._kept)

    def _accept(self):
        with suppress(OSError):
            while True:
                self._kept.append(self._listener.accept()[0])

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends `accept`; `close` alone does not
        self._thread.join()
        for each in (self._listener, *self._kept):
            each.close()


@pytest.fixture
def silent_s3():
    server = SilentServer()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server):
    return buckets.make_bucket(s3_server.url)


@pytest.fixture
def versioned(s3_server):
    return buckets.make_bucket(s3_server.url, versions=True)


@pytest.fixture
def requests(bucket):
    """The operations that are called, with their parameters."""
    made = []

    def called(params, model, **rest):
        made.append((model.name, dict(params)))

    events = bucket.connection.meta.client.meta.events
    events.register("before-parameter-build.s3", called)
    yield made
    events.unregister("before-parameter-build.s3", called)


@contextmanager
def pages_of(size, bucket, operation):
    """Makes S3 answer a list with so many entries at once."""

    def limit(params, **rest):
        params["MaxKeys"] = size

    event = f"before-parameter-build.s3.{operation}"
    bucket.connection.meta.client.meta.events.register(event, limit)
    try:
        yield
    finally:
        bucket.connection.meta.client.meta.events.unregister(event, limit)


def test_one_row_is_read_with_two_ranged_requests(bucket, requests):
    archive = Archive(bucket)
    segment = archive.new_segment(DAY)
    rows = [large_row(number) for number in range(100)]
    manifest = archive.write(segment, rows)
    requests.clear()
    assert archive.find(segment, [position(rows[50])])
    assert [name for name, _ in requests] == ["GetObject", "GetObject"]
    ranges = {f"bytes={each.offset}-{each.offset + each.length - 1}" for each in manifest.frames}
    assert requests[1][1]["Range"].removesuffix(f"-{manifest.bytes}") in {
        *ranges,
        f"bytes={manifest.frames[-1].offset}",  # and a byte beyond the last frame
    }


def test_rows_are_read_in_few_requests(bucket, requests):
    archive = Archive(bucket)
    segment = archive.new_segment(DAY)
    manifest = archive.write(segment, [large_row(number) for number in range(400)])
    assert manifest.bytes > 4_000_000
    requests.clear()
    assert sum(1 for _ in archive.rows(segment)) == 400
    assert len(requests) <= manifest.bytes / 800_000 + 2


def test_a_file_is_put_in_one_request_however_large(bucket, requests, tmp_path):
    with (tmp_path / "large").open("wb+") as file:
        file.truncate(40 * 1024 * 1024)
        Archive(bucket).files.write("large", file)
    assert [name for name, _ in requests] == ["PutObject"]
    assert bucket.size("large") == 40 * 1024 * 1024


def test_a_list_is_one_request_for_each_1000_objects(bucket, requests):
    archive = Archive(bucket)
    segments = [archive.new_segment(DAY) for _ in range(3)]
    for segment in segments:
        archive.write(segment, [row(0)])
        archive.mark(segment)
    requests.clear()
    assert archive.days() == [DAY]
    assert archive.segments(DAY) == segments
    assert list(archive.marked()) == segments
    assert [name for name, _ in requests] == ["ListObjects"] * 3
    assert {parameters["Delimiter"] for _, parameters in requests} == {"/"}


def test_a_list_of_more_than_one_request_is_whole(bucket, requests):
    archive = Archive(bucket)
    segments = [archive.new_segment(DAY) for _ in range(5)]
    for segment in segments:
        archive.write(segment, [row(0)])

    requests.clear()
    with pages_of(2, bucket, "ListObjects"):
        assert archive.segments(DAY) == segments
    assert len(requests) == 5


# A bucket that keeps versions.


def test_nothing_is_left_of_what_is_replaced_or_deleted(versioned):
    archive = Archive(versioned)
    segment = archive.new_segment(DAY)
    for number in range(3):
        archive.write(segment, [row(number)])
        archive.files.write_document("holds/x.json", {"number": number})
        held = sorted(buckets.contents(versioned))
        assert held == sorted([archive.manifest(segment).data, f"{segment}.json", "holds/x.json"])
    archive.unmark([archive.mark(segment)])
    archive.remove(segment)
    archive.files.delete("holds/x.json")
    archive.files.delete("holds/never there.json")
    assert buckets.contents(versioned) == []


def test_what_an_interrupted_replacement_or_deletion_left_goes_too(versioned):
    archive = Archive(versioned)
    client = versioned.connection.meta.client
    segment = archive.new_segment(DAY)
    archive.write(segment, [row(0)])
    document = archive.files.read(f"{segment}.json")
    at = {"Bucket": versioned.bucket_name, "Key": f"{segment}.json"}
    for _ in range(3):
        client.put_object(**at, Body=document)
    other = {**at, "Key": f"{segment}-0123456789abcdef.jsonl.zst"}
    client.put_object(**other, Body=b"rows of somebody")
    client.delete_object(**other)
    assert len(buckets.contents(versioned)) == 7
    archive.remove_orphans(segment)
    assert sorted(buckets.contents(versioned)) == sorted(
        [f"{segment}.json", archive.manifest(segment).data]
    )
    assert fields(archive.rows(segment)) == fields([row(0)])


def test_versions_of_other_names_stay(versioned):
    archive = Archive(versioned)
    for name in ("holds/a", "holds/ab"):
        for content in (b"1", b"2"):
            versioned.connection.meta.client.put_object(
                Bucket=versioned.bucket_name, Key=name, Body=content
            )
    archive.files.delete("holds/a")
    assert buckets.contents(versioned) == ["holds/ab"] * 2


def test_nothing_to_clean_up_asks_for_nothing(versioned, monkeypatch):
    """As when no erasure of an attempt is done. S3 would list the whole bucket."""
    asked = []
    client = versioned.connection.meta.client
    monkeypatch.setattr(client, "_make_api_call", lambda *given: asked.append(given))
    files = Files(versioned)
    files.remove_leftovers(())
    files.delete_all([])
    files.create_all([])
    assert asked == []


def test_more_versions_than_one_request_deletes(versioned, monkeypatch):
    monkeypatch.setattr(bucket_module, "DELETED_AT_ONCE", 2)
    client = versioned.connection.meta.client
    for number in range(5):
        client.put_object(Bucket=versioned.bucket_name, Key="x", Body=str(number).encode())
    Archive(versioned).files.delete("x")
    assert buckets.contents(versioned) == []


def test_an_interrupted_deletion_brings_nothing_back(versioned, monkeypatch):
    monkeypatch.setattr(bucket_module, "DELETED_AT_ONCE", 1)
    archive = Archive(versioned)
    client = versioned.connection.meta.client
    delete_objects = client.delete_objects
    allowed = iter(())

    def interrupted(**parameters):
        if next(allowed, None) is None:
            raise OSError("made to fail")
        return delete_objects(**parameters)

    monkeypatch.setattr(client, "delete_objects", interrupted)
    # One a page, so that the marker of the deletion, the newest, is listed first.
    with pages_of(1, versioned, "ListObjectVersions"):
        for number in range(4):
            for content in (b"1", b"2", b"3"):
                client.put_object(Bucket=versioned.bucket_name, Key="x", Body=content)
            allowed = iter(range(number))
            with pytest.raises(StorageUnavailable):
                archive.files.delete("x")
            assert archive.files.read("x") is None
            allowed = itertools.count()
            archive.files.delete("x")
            assert buckets.contents(versioned) == []


def test_a_version_that_cannot_be_deleted_is_an_error(versioned, monkeypatch):
    archive = Archive(versioned)
    archive.files.write("x", b"")
    client = versioned.connection.meta.client
    refusal = {"Errors": [{"Key": "x", "Code": "AccessDenied", "Message": "No"}]}
    monkeypatch.setattr(client, "delete_objects", lambda **parameters: refusal)
    with pytest.raises(StorageUnavailable, match="AccessDenied to DeleteObjectVersion"):
        archive.files.delete("x")


# What S3 and the network answer.


def test_a_bucket_that_is_not_there_is_not_an_empty_archive(s3_server):
    archive = Archive(ArchiveBucket("no-such-bucket", buckets.REGION, s3_server.url))
    segment = archive.new_segment(DAY)
    for call in (
        lambda: archive.manifest(segment),
        lambda: archive.write(segment, [row(0)]),
        lambda: archive.remove(segment),
        lambda: archive.days(),
        lambda: archive.marked(),
        lambda: archive.mark(segment),
    ):
        with pytest.raises(StorageUnavailable, match=r"S3 answered NoSuchBucket to \w+"):
            call()


def test_an_s3_that_nothing_reaches_is_unavailable_soon():
    archive = Archive(ArchiveBucket("b", buckets.REGION, f"http://127.0.0.1:{servers.free_port()}"))
    with pytest.raises(StorageUnavailable, match="S3 does not answer") as caught:
        archive.days()
    assert "127.0.0.1" not in str(caught.value)


def test_without_credentials_it_says_so(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    archive = Archive(ArchiveBucket("b", buckets.REGION, "http://127.0.0.1:1"))
    with pytest.raises(StorageUnavailable, match="Unable to locate credentials"):
        archive.days()


def test_waits_are_bounded():
    config = ArchiveBucket("b", buckets.REGION, None).client_config
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    longest_pause = 1
    assert 2 * max(config.connect_timeout, config.read_timeout) + longest_pause < LONGEST_CALL


@pytest.mark.parametrize(
    "call",
    [
        lambda files: files.read("x", 0, 1),
        lambda files: files.write("x", b"content"),
        lambda files: files.delete("x"),
    ],
)
def test_an_s3_that_hangs_is_asked_twice(silent_s3, call):
    hanging = ArchiveBucket("b", buckets.REGION, f"http://127.0.0.1:{silent_s3.port}")
    hanging.client_config = hanging.client_config.merge(Config(read_timeout=0.1))
    with pytest.raises(StorageUnavailable, match="S3 does not answer"):
        call(Files(hanging))
    assert silent_s3.calls == 2


def test_while_s3_hangs_few_reads_wait_for_it(bucket, monkeypatch):
    monkeypatch.setattr(bucket_module, "READ_WAITS_SECONDS", 0)
    monkeypatch.setattr(bucket, "_reads", threading.BoundedSemaphore(1))
    told = pytest.raises(TimeoutError, match="too many reads are waiting for S3")
    with bucket._place_to_read(), told:
        bucket.read_range("x", 0, 1)
    with pytest.raises(FileNotFoundError):
        bucket.read_range("x", 0, 1)
