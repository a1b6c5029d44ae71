"""A migration that goes through a large table: it says so first, and nobody waits unprepared."""

import fcntl
import functools
import re
import subprocess
from contextlib import closing, contextmanager

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader

from storage.startup import upgrades
from tests.chat import fork_server, processes
from tests.sqlite import connect

ROWS = 40_000
INDEX = "interaction_answer"
FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
INSERT INTO storage_chatinteraction (interaction_id, user_id, message, response, model_used,
    input_tokens, output_tokens, created_at, updated_at)
SELECT printf('%08d', n), 'ada', 'm', 'r', 'x', 0, 0, '2026-01-01 00:00:00', '2026-01-01 00:00:00'
FROM numbers
"""


@pytest.fixture(scope="module")
def old_database(tmp_path_factory):
    """A database of the first version, without rows."""
    folder = tmp_path_factory.mktemp("old")
    ended = processes.run(folder, "migrate", "storage", "0001", "--verbosity", "0")
    assert ended.returncode == 0, ended.stderr
    return folder / "data.sqlite3"


@pytest.fixture
def old(old_database, tmp_path):
    """Makes the folder of a database of that version with so many rows."""

    def make(rows):
        with closing(connect(old_database)) as database:
            database.execute("VACUUM INTO ?", [str(tmp_path / "data.sqlite3")])
        with closing(connect(tmp_path / "data.sqlite3")) as database:
            database.execute(FILL, [rows])
            database.commit()
        return tmp_path

    return make


@contextmanager
def in_use(folder):
    """Somebody has the database open in this block: the lock of `storage.sqlite.in_use` is held."""
    with (folder / "data.sqlite3.in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def served(folder):
    """Another process has the database open in this block, as a server has."""
    other = fork_server.Popen(
        ["-m", "tests.system.reliability.old_server"],
        processes.environment(folder, DJANGO_SETTINGS_MODULE="config.settings"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preloaded=True,
    )
    try:
        assert other.stdout.readline() == b"ready\n"
        yield
    finally:
        other.communicate()


def run(folder, *arguments):
    """The exit status and what the command says of the upgrade."""
    ended = processes.run(folder, *arguments)
    return ended.returncode, ended.stderr.decode()


def is_upgraded(folder):
    """Whether the index is there; it is recorded exactly then."""
    with closing(connect(folder / "data.sqlite3")) as database:
        (index,) = database.execute(
            "SELECT count(*) FROM sqlite_master WHERE name = ?", [INDEX]
        ).fetchone()
        (recorded,) = database.execute(
            "SELECT count(*) FROM django_migrations WHERE name = '0002_answers'"
        ).fetchone()
    assert index == recorded
    return bool(index)


def test_what_would_make_others_wait_is_refused_and_says_what_to_do(old):
    folder = old(ROWS)
    with served(folder):
        status, said = run(folder, "storage_status")
    assert (status, is_upgraded(folder)) == (1, False)
    assert "storage.0002_answers goes through the 39,999 rows of storage_chatinteraction" in said
    assert re.search(r"takes about \d+ s, and nobody else can save meanwhile", said)
    assert "Stop them, then run this again." in said
    assert "manage.py migrate" in said
    assert len(said.splitlines()) == 1


def test_a_server_does_not_start_either(old):
    folder = old(ROWS)
    with in_use(folder):
        status, said = run(folder, "serve")
    assert (status, is_upgraded(folder)) == (1, False)
    assert "a server or another command has it open" in said
    assert len(said.splitlines()) == 1


def test_alone_it_goes_on_and_says_so(old):
    folder = old(ROWS)
    status, said = run(folder, "storage_status")
    assert (status, is_upgraded(folder)) == (0, True)
    assert "The database is being upgraded: storage.0002_answers goes through" in said


def test_migrate_goes_on_beside_others_and_says_so(old):
    folder = old(ROWS)
    with in_use(folder):
        status, said = run(folder, "migrate", "--verbosity", "0")
    assert (status, is_upgraded(folder)) == (0, True)
    assert "The database is being upgraded: storage.0002_answers goes through" in said


def test_nobody_is_stopped_for_a_few_rows(old):
    folder = old(1_000)
    with in_use(folder):
        assert run(folder, "storage_status") == (0, "")
    assert is_upgraded(folder)


def test_commands_that_wait_for_the_upgrade_are_no_reason_to_refuse_it(old):
    folder = old(ROWS)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [processes.start(folder, "storage_status", **streams) for _ in range(2)]
    said = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert sum("is being upgraded" in each for each in said) == 1


def test_an_upgrade_that_is_killed_leaves_nothing_half_done(old):
    folder = old(ROWS)
    killed = fork_server.run(
        ["-m", "tests.system.reliability.killed_upgrade"],
        processes.environment(folder, DJANGO_SETTINGS_MODULE="config.settings"),
        preloaded=True,
    )
    assert killed.returncode == -9, killed.stderr
    assert not is_upgraded(folder)
    assert run(folder, "storage_status")[0] == 0
    assert is_upgraded(folder)
    with closing(connect(folder / "data.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM storage_chatinteraction").fetchone() == (
            ROWS,
        )


# What is found in the operations of a migration.

NAME = "chatinteraction"
TABLE = "storage_chatinteraction"


@functools.cache
def known_migrations():
    loader = MigrationLoader(connection)
    return loader, loader.project_state(loader.graph.leaf_nodes("storage")[0])


def found(monkeypatch, *operations):
    """The tables that a migration with these operations goes through, if all are large."""
    migration = migrations.Migration("9999_next", "storage")
    migration.operations = operations
    loader, state = known_migrations()
    monkeypatch.setattr(loader, "project_state", lambda *args, **kwargs: state.clone())
    monkeypatch.setattr(upgrades, "ROWS_PER_SECOND", 0.5)
    tables = connection.introspection.table_names()
    monkeypatch.setattr(upgrades, "_row_counts", lambda alias: ((each, 1) for each in tables))
    return [work.table for work in upgrades.large_work([migration], loader, "default")]


LONG = {
    "an index": migrations.AddIndex(NAME, models.Index(fields=["model_used"], name="x")),
    "a field that rewrites all rows": migrations.AlterField(
        NAME, "model_used", models.CharField(max_length=300, unique=True)
    ),
    "a constraint": migrations.AddConstraint(
        NAME, models.UniqueConstraint(fields=["user_id", "created_at"], name="x")
    ),
    "SQL": migrations.RunSQL(f"SELECT 1; UPDATE {TABLE} SET model_used = 'x'"),
}
SHORT = {
    "a field that may be null": migrations.AddField(NAME, "rating", models.IntegerField(null=True)),
    "options": migrations.AlterModelOptions(NAME, {"verbose_name": "x"}),
    "another table": migrations.CreateModel("Other", [("id", models.AutoField(primary_key=True))]),
    "SQL that makes a trigger": migrations.RunSQL(
        f"CREATE TRIGGER x BEFORE INSERT ON {TABLE} BEGIN SELECT 1; END"
    ),
}


@pytest.mark.parametrize("operation", LONG.values(), ids=LONG)
def test_an_operation_that_goes_through_the_table_is_found(
    transactional_db, monkeypatch, operation
):
    assert TABLE in found(monkeypatch, operation)


@pytest.mark.parametrize("operation", SHORT.values(), ids=SHORT)
def test_an_operation_that_does_not_is_left_alone(transactional_db, monkeypatch, operation):
    assert TABLE not in found(monkeypatch, operation)


def test_code_may_do_anything_to_the_tables_of_its_application(transactional_db, monkeypatch):
    assert TABLE in found(monkeypatch, migrations.RunPython(lambda apps, editor: None))


def test_looking_for_it_changes_nothing(transactional_db, monkeypatch):
    before = connection.introspection.table_names()
    found(monkeypatch, *LONG.values(), SHORT["another table"])
    assert connection.introspection.table_names() == before
    assert not connection.in_atomic_block
