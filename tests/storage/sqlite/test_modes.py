"""Who may use the files of a database: its owner, and a group that the operator has let in."""

import os
import stat
from pathlib import Path

import pytest

from storage.sqlite import base, in_use, modes
from storage.startup.schema import migrate_under_lock

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def reopen(connection):
    """As another process would: with nothing open yet."""
    connection.close()
    name = str(connection.settings_dict["NAME"])
    base.close_idle_connections()
    base.close_pool(name)
    in_use.release(name)
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS t (x)")


@pytest.fixture
def database(other):
    return Path(other.settings_dict["NAME"])


@pytest.fixture
def _loose_umask():
    """As a shell has it, and as it was when earlier versions made their files."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def files(database):
    return {path.name.removeprefix(database.name): mode(path) for path in beside(database)}


def beside(database):
    return sorted(database.parent.glob(f"{database.name}*"))


@pytest.mark.parametrize("before", [0o644, 0o664, 0o666, 0o604])
def test_files_of_an_earlier_version_are_closed_to_others_and_the_log_says_so(
    other, database, caplog, before
):
    reopen(other)
    for path in beside(database):
        path.chmod(before)
    reopen(other)
    assert set(files(database).values()) == {0o600}
    assert {"-wal", "-shm", ".in-use"} <= files(database).keys()
    assert f"Every user of this machine could use {database}." in caplog.text
    caplog.clear()
    reopen(other)
    assert caplog.text == ""


@pytest.mark.parametrize("chosen", [0o640, 0o660, 0o600])
@pytest.mark.usefixtures("_loose_umask")
def test_a_group_that_the_operator_has_let_in_stays(other, database, caplog, chosen):
    database.chmod(chosen)
    reopen(other)
    assert set(files(database).values()) == {chosen}
    assert caplog.text == ""


@pytest.mark.usefixtures("_loose_umask")
def test_the_lock_files_are_not_for_others_whatever_the_umask(add_database):
    """Who can open them can keep every process from starting."""
    connection = add_database("fresh", tables=False)
    database = connection.settings_dict["NAME"]
    migrate_under_lock("fresh")
    assert mode(f"{database}.in-use") == 0o600
    assert mode(f"{database}.migrate.lock") == 0o600


def test_a_planted_link_is_not_followed_to_a_file_of_someone_else(other, database, tmp_path):
    victim = tmp_path / "victim"
    victim.touch(mode=0o644)
    victim.chmod(0o644)
    in_use.release(str(database))
    Path(f"{database}.in-use").unlink(missing_ok=True)
    Path(f"{database}.in-use").symlink_to(victim)
    with pytest.raises(OSError, match=r"\.in-use"):
        modes.open_lock(str(database), ".in-use")
    modes.tighten(Path(f"{database}.in-use"))
    assert mode(victim) == 0o644


@ROOT_ONLY
def test_what_root_makes_beside_another_users_database_is_that_users(other, database):
    os.chown(database, 12345, 12345)
    reopen(other)
    owners = {path.stat().st_uid for path in beside(database)}
    assert owners == {12345}
