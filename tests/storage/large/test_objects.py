"""Maintenance finds all objects by listing them, and each leads to its row."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.archive.files import Files
from storage.archive.folder import ArchiveFolder
from storage.exceptions import DamagedArchive
from storage.large.objects import LargeObjects, is_object
from storage.large.texts import LargeTexts
from tests import buckets


@pytest.fixture
def objects(files):
    return LargeObjects(files)


@pytest.fixture
def written(large):
    """Names of objects by the ids of their interactions: of three users, two each."""
    return {
        f"{user} {number}": large.write(user, f"{user} {number}", "message", "r" * number).name
        for user in ("ada", "bob", "eve")
        for number in (1, 2)
    }


def names(entries):
    return [entry.name for entry in entries]


def test_all_are_listed_in_order_with_size_and_time(objects, written, files):
    assert names(objects.listed()) == sorted(written.values())
    now = objects.now()
    for entry in objects.listed():
        assert entry.bytes == len(files.read(entry.name))
        assert abs(entry.modified - now) < timedelta(minutes=10)


def test_a_list_goes_on_behind_any_name(objects, written):
    all_names = sorted(written.values())
    for number, name in enumerate(all_names):
        assert names(objects.listed(name)) == all_names[number + 1 :]
    assert names(objects.listed(all_names[0][:-1])) == all_names
    assert names(objects.listed("large/")) == all_names
    assert names(objects.listed("largf")) == []


def test_nothing_is_listed_where_nothing_is(objects):
    assert names(objects.entries()) == []
    assert list(objects.of_users(["ada"])) == []


def test_other_files_are_no_objects(objects, written, files):
    files.write("2026-10-23/other", b"")
    files.write("large/notes.txt", b"")
    files.write("large.json", b"")
    assert names(objects.listed()) == sorted(written.values())
    assert [entry.name for entry in objects.entries() if not is_object(entry)] == [
        "large/notes.txt"
    ]


def test_an_object_leads_to_its_row(objects, written, files):
    for interaction_id, name in written.items():
        head = objects.head(name)
        assert (head.interaction_id, head.user_id) == (interaction_id, interaction_id[:3])
    (first, second, *_) = written.values()
    files.delete(first)
    files.write(second, b"no object")
    gone, damaged, there = objects.heads([first, second, written["bob 1"]])
    assert gone is None
    assert isinstance(damaged, DamagedArchive)
    assert there.interaction_id == "bob 1"


def test_the_objects_of_users_are_found_under_every_key(objects, written, large, settings):
    first_key = settings.SECRET_KEY
    settings.SECRET_KEY = "the second key"
    settings.SECRET_KEY_FALLBACKS = [first_key]
    second = large.write("ada", "ada 3", "m", "r").name
    expected = sorted([written["ada 1"], written["ada 2"], second])
    assert sorted(entry.name for _, entry in objects.of_users(["ada"])) == expected
    settings.SECRET_KEY_FALLBACKS = []  # the first one is forgotten
    found = list(objects.of_users(["ada", "nobody"]))
    assert sorted(entry.name for _, entry in found) == expected
    assert {user for user, _ in found} == {"ada"}


def test_what_is_deleted_is_gone_with_its_folder(objects, written, backend):
    mine = [entry.name for _, entry in objects.of_users(["ada"])]
    objects.delete_all(mine)
    assert names(objects.entries()) == sorted(set(written.values()) - set(mine))
    objects.delete_all(mine)  # again


def test_what_a_killed_write_has_left_is_listed_and_deleted(tmp_path):
    files = Files(ArchiveFolder(tmp_path))
    objects = LargeObjects(files)
    kept = LargeTexts(files).write("ada", "1", "m", "r")
    partial = tmp_path / f"{kept.name}.0123.tmp"
    partial.write_bytes(b"half")
    files.delete(kept.name)
    (entry,) = objects.entries()
    assert entry.name.endswith(".tmp")
    assert not is_object(entry)
    objects.delete_all([entry.name])
    assert not partial.parent.exists()


def test_empty_folders_are_listed_and_deleted(tmp_path):
    files = Files(ArchiveFolder(tmp_path))
    objects = LargeObjects(files)
    kept = LargeTexts(files).write("ada", "1", "m", "r")
    files.delete(kept.name)
    (entry,) = objects.entries()
    assert entry.name == f"large/{kept.place}/"
    assert entry.modified <= datetime.now(UTC)
    assert not is_object(entry)
    objects.delete_all([entry.name])
    assert list((tmp_path / "large").iterdir()) == [tmp_path / "large" / kept.place[:8]]


def test_earlier_versions_go_with_their_object(s3_server):
    """A bucket that keeps versions has the text still when its deletion was cut short."""
    backend = buckets.make_bucket(s3_server.url, versions=True)
    files = Files(backend)
    large, objects = LargeTexts(files), LargeObjects(files)
    client = backend.connection.meta.client
    ada, bob = (large.write(user, "1", "m", "r").name for user in ("ada", "bob"))
    lasting = large.write("ada", "2", "m", "r").name
    for name in (ada, bob):
        client.delete_object(Bucket=backend.bucket_name, Key=name)
    assert len(buckets.contents(backend)) == 5
    objects.remove_versions("ada")
    assert sorted(set(buckets.contents(backend))) == sorted([bob, lasting])
    objects.remove_versions()
    assert buckets.contents(backend) == [lasting]
