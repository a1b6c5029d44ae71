"""A backup has the large texts that its rows name, and a restore puts them back."""

import hashlib
import json
import shutil
from contextlib import closing
from datetime import timedelta

import pytest

from storage.archive.archive import Archive
from storage.archive.files import Files
from storage.archive.folder import ArchiveFolder
from storage.backups.base import BackupReport
from storage.backups.folder import ATTEMPTS
from storage.backups.manifests import BackupDamaged
from storage.backups.sql import SqlBackups
from storage.large.objects import LargeObjects
from storage.large.packing import packed
from storage.records.texts import TextObject
from tests.chat.processes import run
from tests.sqlite import connect
from tests.storage.backups.conftest import KEEP, NOW
from tests.storage.backups.test_after_restore import line, stored, succeed, summary

LONG = "what was said at length " * 10_000


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Two users with a row of large texts and a short one each, and another large one of bob's."""
    folder = tmp_path_factory.mktemp("made")
    lines = [line(user, days) for user in ("grace", "bob") for days in (1, 2)]
    large = [line("grace", 3), line("bob", 3), line("bob", 4)]
    lines += [each | {"response": f"{LONG}{each['interaction_id']}"} for each in large]
    succeed(folder, "migrate")
    stdin = "\n".join(map(json.dumps, lines)).encode()
    succeed(folder, "import_interactions", "-", stdin=stdin)
    said = summary(folder, "backup")
    assert (said["large_texts"], said["large_texts_missing"]) == (3, 0)
    return folder


@pytest.fixture
def data(made, tmp_path):
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def files(data):
    return Files(ArchiveFolder(data / "archive"))


def objects(data):
    return [entry.name for entry in LargeObjects(files(data)).listed()]


def of_user(data, user_id):
    """The names of a user's objects, by interaction."""
    listed = LargeObjects(files(data))
    heads = {name: listed.head(name) for name in objects(data)}
    return {head.interaction_id: name for name, head in heads.items() if head.user_id == user_id}


def copies(data):
    return sorted(path.name for path in (data / "backups" / "large").iterdir())


def texts(data):
    """The responses of all interactions, by id."""
    lines = map(json.loads, succeed(data, "export_interactions").splitlines())
    return {each["interaction_id"]: each["response"] for each in lines}


@pytest.mark.exhaustive  # a process for each command
def test_each_object_is_copied_once_for_all_backups(data):
    before = copies(data)
    assert len(before) == 3
    said = summary(data, "backup")
    assert (said["large_texts"], copies(data)) == (3, before)
    assert summary(data, "verify_backup", "--all")["verified"] == 2


def test_what_was_deleted_since_is_put_back_and_the_erased_stay_erased(data):
    before = texts(data)
    succeed(data, "erase_user", "grace")
    files(data).delete(of_user(data, "bob")["bob-3"])
    assert len(objects(data)) == 1
    said = summary(data, "restore", "latest", "--yes")
    assert (said["erased"], said["large_texts"], said["large_texts_lost"]) == (3, 1, 0)
    assert texts(data) == {name: text for name, text in before.items() if name[:3] == "bob"}
    assert of_user(data, "grace") == {}
    assert len(objects(data)) == 2


@pytest.mark.exhaustive  # a process for each command
def test_what_nobody_has_is_left_out_and_counted(data):
    missing = of_user(data, "bob")["bob-3"]
    files(data).delete(missing)
    shutil.rmtree(data / "backups" / "large")
    status, said, errors = restore(data)
    assert (status, said["large_texts_lost"]) == (0, 1)
    assert "1 interactions with large texts were left out" in errors
    assert "bob-3" not in errors
    assert sorted(texts(data)) == ["bob-1", "bob-2", "bob-4", "grace-1", "grace-2", "grace-3"]


def restore(data, *options):
    result = run(data, "restore", "latest", "--yes", *options)
    return result.returncode, json.loads(result.stdout), result.stderr.decode()


@pytest.mark.exhaustive  # a process for each command
def test_a_damaged_copy_is_named(data):
    name = copies(data)[0]
    path = data / "backups" / "large" / name
    path.write_bytes(path.read_bytes()[:-1])
    result = run(data, "verify_backup", "latest")
    assert result.returncode == 1
    assert json.loads(result.stdout)["damaged"] == [f"large/{name}"]
    path.unlink()
    assert run(data, "verify_backup", "latest").returncode == 1


@pytest.mark.exhaustive  # a process for each command
def test_a_practice_reads_what_it_would_put_back_and_changes_nothing(data):
    files(data).delete(of_user(data, "bob")["bob-3"])
    before = objects(data)
    said = summary(data, "restore", "latest", "--practice")
    assert (said["read"], said["large_texts"], said["large_texts_lost"]) == (7, 1, 0)
    assert objects(data) == before
    assert not (data / "restore-practice").exists() or not list(
        (data / "restore-practice").iterdir()
    )


@pytest.mark.exhaustive  # a process for each command
def test_copies_go_with_the_last_backup_that_names_them(data):
    for number in range(3):
        if number == 0:
            succeed(data, "erase_user", "grace")
        succeed(data, "backup", "--now", f"2027-01-0{number + 1}T00:00:00Z", "--yes")
    assert len(copies(data)) == 2
    assert stored(data)["hot"] == ["bob-1", "bob-2", "bob-3", "bob-4"]


@pytest.mark.exhaustive  # a process for each command
def test_an_object_that_is_lost_is_counted_and_fails_no_backup(data):
    files(data).delete(of_user(data, "bob")["bob-3"])
    shutil.rmtree(data / "backups" / "large")
    said = summary(data, "backup")
    assert (said["large_texts"], said["large_texts_missing"]) == (3, 1)
    assert summary(data, "verify_backup", "latest")["verified"] == 1


def reference(number):
    content = packed("id", "ada", b"m", b"%d" % number)
    digest = hashlib.sha256(content).hexdigest()
    return TextObject(f"{number:032x}", 2, 2, digest, f"{'0' * 8}/{'0' * 32}"), content


class Moving:
    """A database whose row names another object as often as an object is asked for in vain."""

    def __init__(self, database, times):
        self.database, self.times, self.number = database, times, 0
        self.name(0)

    def name(self, number):
        with closing(connect(self.database)) as connection, connection:
            connection.execute(
                "UPDATE storage_chatinteraction SET text_object = ? WHERE interaction_id = 'id-1'",
                (reference(number)[0].dumps(),),
            )

    def contents(self, kept):
        number = int(kept.version, 16)
        if number < self.times:  # deleted just now, as its row was replaced
            self.number = number + 1
            self.name(self.number)
            return None
        return reference(number)[1]


def test_a_backup_is_tried_again_if_a_text_was_deleted_under_it(backups, database):
    taken = backups.take(database, NOW, texts=Moving(database, 2).contents)
    assert (taken.texts, taken.missing) == (1, 0)
    assert backups.texts.read(reference(2)[0]) == reference(2)[1]
    assert backups.verify(taken.backup.name) == taken.backup


def test_but_not_for_ever(backups, database):
    taken = backups.take(database, NOW, texts=Moving(database, 100 * ATTEMPTS).contents)
    assert (taken.texts, taken.missing) == (1, 1)
    assert backups.verify(taken.backup.name) == taken.backup


def test_one_archive_with_its_connections_is_asked_for_all_texts(folder, database, tmp_path):
    with closing(connect(database)) as connection, connection:
        for number in range(3):
            connection.execute(
                "UPDATE storage_chatinteraction SET text_object = ? WHERE interaction_id = ?",
                (reference(number)[0].dumps(), f"id-{number}"),
            )
    made = []

    def archive():
        made.append(Archive(ArchiveFolder(tmp_path / "archive")))
        return made[-1]

    report = BackupReport()
    backups = SqlBackups(database, folder, KEEP, has_interactions=True, archive=archive)
    backups.take(NOW, report)
    assert report.large_texts_missing == 3
    assert len(made) == 1


@pytest.fixture
def copied(backups, database):
    """A backup of a row with a large text."""
    moving = Moving(database, 0)
    return backups.take(database, NOW, texts=moving.contents).backup


def test_a_damaged_or_missing_copy_is_found(backups, copied):
    (path,) = backups.texts.folder.iterdir()
    for damage in (lambda: path.write_bytes(path.read_bytes()[:-1]), path.unlink):
        damage()
        with pytest.raises(BackupDamaged) as caught:
            backups.verify(copied.name)
        assert caught.value.name == f"large/{path.name}"


def test_a_damaged_copy_is_written_again(backups, copied, database, caplog):
    (path,) = backups.texts.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    contents = Moving(database, 0).contents
    taken = backups.take(database, NOW + timedelta(hours=1), texts=contents)
    assert (taken.missing, backups.verify(taken.backup.name)) == (0, taken.backup)
    assert path.name in caplog.text


def test_a_damaged_copy_of_what_nobody_has_is_counted(backups, copied, database):
    (path,) = backups.texts.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    taken = backups.take(database, NOW + timedelta(hours=1))
    assert (taken.texts, taken.missing) == (1, 1)


def test_a_copy_is_kept_as_long_as_a_backup_names_it(backups, copied, database):
    before = list(backups.texts.folder.iterdir())
    Moving(database, 0).name(7)
    hours = [timedelta(hours=number) for number in (1, 2)]
    for later in hours:
        backups.take(database, NOW + later, texts=lambda kept: reference(7)[1])
    assert len(list(backups.texts.folder.iterdir())) == 2
    backups.take(database, NOW + 2 * KEEP, texts=lambda kept: reference(7)[1])
    left = list(backups.texts.folder.iterdir())
    assert len(left) == 1
    assert left != before
