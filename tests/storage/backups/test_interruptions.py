"""Cut short at any step, a restore leaves the old database or the new one, and a backup no half.

The next run ends what was begun.
"""

import json
import os
import shutil
from datetime import timedelta

import pytest

from storage.backups import inspection
from storage.backups.folder import BackupFolder
from storage.sqlite import in_use
from tests import switches
from tests.chat import fork_server
from tests.chat.processes import environment
from tests.storage.backups.conftest import ALL, KEEP, NOW, ids, plain
from tests.storage.backups.interruptions import COMPLETE, KILLED, REFUSED
from tests.storage.backups.test_replacing import OLDER, of_schema

pytestmark = pytest.mark.timeout(600)

STRIDE = switches.number("BACKUP_STRIDE")
OLD = ALL - {"id-1"}
NEW = ALL - {"id-9"}
"""A hook erases one when the backup is restored."""

KILL = """
import os, sys, config
from tests.sqlite import connect
c = connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA journal_mode = WAL")
c.execute("DELETE FROM storage_chatinteraction WHERE interaction_id = 'id-1'")
os._exit(0)
"""


def interrupted(action, how, folder):
    """Steps, and how the first and the second run have ended that was cut short there."""
    first = 1 if how == "killed" else 1 + STRIDE // 2
    done = fork_server.run(
        ["-m", "tests.storage.backups.interruptions", action, how, folder, first, STRIDE],
        environment(folder / "django", DATABASE_URL="", SECRET_KEY="x"),
        preloaded=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    # A chunk that cannot be read, so that another one takes its place.
    assert all(line.endswith(b"is written again.") for line in done.stderr.splitlines())
    ends = json.loads(done.stdout)
    last, *ended = ends.pop()
    assert last > 20, "there are that many steps"
    assert ended == [COMPLETE, COMPLETE]
    print(f"{action}, {how}: {last} steps, cut short at {len(ends)}")
    return ends


def state(database):
    """The ids in a database, which is whole."""
    inspection.check(database)
    return ids(database)


def beside(database):
    """What lies beside a database, but for what is always there, and what was kept."""
    found = {path.name for path in database.parent.iterdir()}
    kept = {name for name in found if ".before-restore-" in name}
    return found - kept - {database.name, f"{database.name}{in_use.SUFFIX}", "backups"}


def prepared(tmp_path, database, folder):
    """The database has lost a row since its backup, and kill -9 has left that in its log."""
    start = tmp_path / "runs" / "start"
    shutil.copytree(folder, start / "backups")
    shutil.copy(database, start / "data.sqlite3")
    assert fork_server.run(["-c", KILL, start / "data.sqlite3"], os.environ).returncode == 0
    assert (start / "data.sqlite3-wal").stat().st_size
    (tmp_path / "runs" / "django").mkdir()
    return start


@pytest.fixture
def start(tmp_path, backup, database, folder):
    return prepared(tmp_path, database, folder)


def check_restores(action, how, runs):
    for number, first, again in interrupted(action, how, runs):
        assert first in (KILLED, REFUSED), number
        assert state(runs / f"{number}-after" / "data.sqlite3") in (OLD, NEW), number
        assert again == COMPLETE, number
        database = runs / str(number) / "data.sqlite3"
        assert state(database) == NEW, number
        assert beside(database) == set(), number
        for kept in database.parent.glob("*.before-restore-*"):
            assert not kept.samefile(database), number
            assert state(kept) in (OLD, NEW), number


@pytest.mark.parametrize("how", ["killed", "failing"])
def test_a_restore(start, how):
    check_restores("restore_and_keep", how, start.parent)


def test_a_restore_that_migrates(tmp_path, backups, database, folder):
    of_schema(backups, database, OLDER)
    start = prepared(tmp_path, database, folder)
    check_restores("migrate", "killed", start.parent)


@pytest.mark.parametrize("how", ["killed", "failing"])
def test_a_backup(tmp_path, backups, backup, database, folder, how):
    second = backups.take(database, NOW + timedelta(seconds=1)).backup
    in_use.release(str(database))
    start = prepared(tmp_path, database, folder)
    for number, first, again in interrupted("back_up", how, start.parent):
        assert first in (KILLED, REFUSED), number
        after = verified(start.parent / f"{number}-after" / "backups")
        assert after, "the one of before goes only when there is another"
        assert again == COMPLETE, number
        folder = start.parent / str(number) / "backups"
        names = verified(folder)
        assert backup.name not in names, number
        left = {path.name for path in folder.iterdir() if not path.name.startswith("backup-")}
        assert left == {".lock", "chunks"}, number
        assert len(list(folder.glob("backup-*"))) == 2 * len(names), number
        kept = BackupFolder(folder, KEEP)
        made = [kept.manifest(name) for name in names]
        needed = {f"{chunk}.zst" for each in made for chunk in kept.parts(each).chunks}
        assert {path.name for path in (folder / "chunks").iterdir()} == needed, number
        for each in made:
            if each.name != second.name:
                assert ids(plain(kept, each, tmp_path / "plain")) == OLD, number


def verified(folder):
    """The backups in a folder, all of which are whole."""
    backups = BackupFolder(folder, KEEP)
    for name in backups.names():
        backups.verify(name)
    return backups.names()
