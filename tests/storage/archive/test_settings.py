"""Where the archive is, and what is said at start if it cannot be there."""

import os
from pathlib import Path

import pytest
from django.core.files.storage import storages

from storage.archive.archive import configured_archive
from storage.archive.bucket import ArchiveBucket
from storage.archive.folder import ArchiveFolder
from storage.startup import archive_checks as checks
from tests import buckets
from tests.chat.processes import run
from tests.storage.archive.rows import DAY, fields, row


@pytest.fixture
def archive_in(settings):
    """Sets where the archive is: the class of its storage and the options."""

    def put(backend, **options):
        name = f"{backend.__module__}.{backend.__name__}"
        settings.STORAGES = {**settings.STORAGES, "archive": {"BACKEND": name, "OPTIONS": options}}

    return put


def shown(tmp_path, **values):
    """What settings say of the archive, in a process that has these in its environment."""
    program = (
        "from django.core.files.storage import storages as s;"
        "from django.conf import settings as c;"
        "a = s['archive']; print(getattr(a, 'location', ''), getattr(a, 'bucket_name', ''), "
        "getattr(a, 'region_name', ''), getattr(a, 'endpoint_url', ''), c.SECRET_KEY_FALLBACKS)"
    )
    result = run(tmp_path, "shell", "--no-imports", "-c", program, **values)
    assert result.returncode == 0, result.stderr
    return result.stdout.decode().strip()


def test_it_is_a_folder_beside_the_data_by_default(tmp_path):
    assert shown(tmp_path).startswith(f"{tmp_path}/archive ")


def test_it_is_the_folder_that_the_environment_names(tmp_path):
    assert shown(tmp_path, ARCHIVE_DIR=f"{tmp_path}/cold").startswith(f"{tmp_path}/cold ")


def test_it_is_the_bucket_that_the_environment_names(tmp_path):
    values = {
        "ARCHIVE_BUCKET": "cold-chats",
        "AWS_REGION": "eu-central-1",
        "ARCHIVE_ENDPOINT_URL": "http://127.0.0.1:9",
        "SECRET_KEY_FALLBACKS": "one,two",
    }
    said = shown(tmp_path, **values)
    assert said == "cold-chats eu-central-1 http://127.0.0.1:9 ['one', 'two']"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ARCHIVE_BUCKET": "Cold_Chats"}, "ARCHIVE_BUCKET='Cold_Chats' is not the name of an S3"),
        ({"ARCHIVE_BUCKET": "s3://a:hunter2@b"}, "ARCHIVE_BUCKET is not the name of an S3 bucket"),
        ({"ARCHIVE_BUCKET": "cold", "ARCHIVE_DIR": "cold"}, "are both set"),
        ({"ARCHIVE_ENDPOINT_URL": "ftp://a:hunter2@b"}, "ARCHIVE_ENDPOINT_URL is not a URL such"),
    ],
    ids=str,
)
def test_a_mistake_stops_a_start_and_says_what_would_be_right(tmp_path, values, words):
    result = run(tmp_path, "check", **values)
    said = result.stderr.decode()
    assert result.returncode == 1
    assert words in said
    assert "hunter2" not in said


def test_each_configured_archive_has_connections_of_its_own(archive_in, tmp_path):
    """A forked child must not use those of its parent."""
    archive_in(ArchiveFolder, location=tmp_path)
    first, second = configured_archive(), configured_archive()
    assert first.files.backend is not second.files.backend is not storages["archive"]
    segment = first.new_segment(DAY)
    first.write(segment, [row(0)])
    assert fields(second.rows(segment)) == fields([row(0)])


def test_a_folder_that_is_there_or_can_be_made_is_right(archive_in, tmp_path):
    archive_in(ArchiveFolder, location=tmp_path)
    assert checks.check_folder() == []
    archive_in(ArchiveFolder, location=tmp_path / "not" / "yet")
    assert checks.check_folder() == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(archive_in, tmp_path, monkeypatch):
    Path(tmp_path, "file").write_text("")
    archive_in(ArchiveFolder, location=tmp_path / "file" / "archive")
    (message,) = checks.check_folder()
    assert message.id == "storage.E009"
    archive_in(ArchiveFolder, location=tmp_path)
    monkeypatch.setattr(os, "access", lambda *args: False)
    (message,) = checks.check_folder()
    assert (message.id, str(tmp_path) in message.msg) == ("storage.E009", True)


def test_production_is_told_that_a_folder_is_of_one_machine(archive_in, tmp_path, settings):
    archive_in(ArchiveFolder, location=tmp_path)
    assert checks.check_place() == []
    settings.ENVIRONMENT = "production"
    (message,) = checks.check_place()
    assert message.id == "storage.W005"


def test_a_bucket_that_answers_is_right(archive_in, s3_server, settings):
    settings.ENVIRONMENT = "production"
    name = buckets.make_bucket(s3_server.url).bucket_name
    archive_in(ArchiveBucket, bucket_name=name, region_name=None, endpoint_url=s3_server.url)
    assert checks.check_folder() == checks.check_place() == []


def test_a_bucket_that_is_not_there_is_an_error(archive_in, s3_server):
    archive_in(ArchiveBucket, bucket_name="none", region_name=None, endpoint_url=s3_server.url)
    (message,) = checks.check_place()
    assert message.id == "storage.E010"
    assert "NoSuchBucket" in message.msg
