"""What all tests share.

What only tests of DynamoDB, S3 or Redis need is imported by their fixtures: it takes half a second.
"""

import functools
import gc
import itertools
import os
import signal
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.core.cache.backends.dummy import DummyCache
from django.core.management.color import no_style
from django.db import connections
from django.http import HttpRequest
from django.template import Template
from django.test import Client, TransactionTestCase, override_settings

from chat.ingest import counts
from chat.ingest.hours import Hours
from storage import get_storage
from storage.accounts import api_keys, key_use
from storage.accounts.key_use import Uses
from storage.archive.archive import configured_archive
from storage.large.texts import LargeTexts
from storage.models import ApiKey, AuditEntry, ChatInteraction
from storage.sqlite import text_index
from storage.startup import selection
from storage.startup.availability import LOOKS

# Before they are imported: pytest explains failed assertions only in modules it knows of.
pytest.register_assert_rewrite("tests.contract", "tests.storage.archive")

gc.disable()  # until all tests are collected: what that makes stays for the whole run

# A shell starts what it runs in the background deaf to Ctrl-C, and so would be every process that
# a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    os.environ[name] = "test"  # whatever a developer has: tests never reach AWS


SAMPLED = tuple(
    f"tests/chat/{name}/" for name in ("admin", "api", "commands", "ingest", "maintenance")
)
ON_DYNAMODB_TOO = "tests/chat/api/test_permissions.py"


def mark_more_cases_on_dynamodb(items):
    """Of each test of SAMPLED one case runs on DynamoDB, and the others only in `make test-all`.

    All run on SQLite: `chat` names no backend, and the contract holds both to the same behaviour.
    """
    seen = set()
    for item in items:
        if not item.nodeid.startswith(SAMPLED) or item.nodeid.startswith(ON_DYNAMODB_TOO):
            continue
        if hasattr(item, "callspec") and item.callspec.params.get("backend") == "dynamodb":
            function = item.nodeid.partition("[")[0]
            if function in seen:
                item.add_marker("exhaustive")
            seen.add(function)


def pytest_pycollect_makeitem(collector, obj):
    """What is marked for `make test-all` as a whole is not even collected by `make test`."""
    if collector.config.option.markexpr == "not exhaustive" and isinstance(obj, type):
        marks = obj.__dict__.get("pytestmark", ())
        if any(mark.name == "exhaustive" for mark in marks):
            return []
    return None


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is marked
def pytest_collection_modifyitems(items):
    """The longest tests come first, so that all processes end at about the same time."""
    mark_more_cases_on_dynamodb(items)
    items.sort(key=lambda item: not item.nodeid.startswith("tests/system/"))


def pytest_collection_finish():
    """Garbage collections skip the tests and modules: they stay, and would cost a sixth of it.

    They also come after 20,000 new objects, not 700: a twentieth less CPU, in turns.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix, tmp_path_factory):
    """A database of this process alone, so that two runs beside each other do not meet.

    Who waits for another writer, or for a connection, waits as long as a busy machine takes. A
    commit does not wait for the disk; servers and commands of their own keep the real settings.
    """
    database = connections.settings["default"]
    test, options = database["TEST"], database["OPTIONS"]
    test["NAME"] = str(tmp_path_factory.mktemp("database") / Path(test["NAME"]).name)
    pool = options["pool"] | {"timeout": PATIENCE_SECONDS}
    quick = options["init_command"].replace("synchronous=FULL", "synchronous=OFF")
    waits = {"timeout": PATIENCE_SECONDS, "pool": pool}
    database["OPTIONS"] = options | waits | {"init_command": quick}


PATIENCE_SECONDS = 300


@pytest.fixture
def durable(monkeypatch):
    """Connections made from now on have the real settings: a commit waits for the disk."""
    options = connections.settings["default"]["OPTIONS"]
    real = options["init_command"].replace("synchronous=OFF", "synchronous=FULL")
    monkeypatch.setitem(options, "init_command", real)


KEPT_TABLES = {"django_content_type", "auth_permission", "django_migrations"}


@contextmanager
def append_only_log_can_be_emptied(connection):
    """Without the triggers of the audit log, if it has entries."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            yield
            cursor.execute("RESET session_replication_role")
        return
    table = AuditEntry._meta.db_table
    with connection.cursor() as cursor:
        if not cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0]:
            yield
            return
        sql = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"
        triggers = cursor.execute(sql, [table]).fetchall()
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        yield
        for _, statement in triggers:
            cursor.execute(statement)


def filled_tables(connection, names):
    """Which of them exist and, in SQLite, have rows. PostgreSQL empties a table with all others."""
    tables = sorted(names & set(connection.introspection.table_names()))
    if connection.vendor == "postgresql" or not tables:
        return tables
    found = (f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables)
    with connection.cursor() as cursor:
        return [row[0] for row in cursor.execute(" UNION ALL ".join(found)).fetchall()]


@pytest.fixture(scope="session", autouse=True)
def _quick_flush():
    """After a test every row goes, but for those that Django would make again at once.

    Its own `flush` calls all receivers of `post_migrate`, which takes 30 ms a test.
    """
    names = set(connections["default"].introspection.django_table_names()) - KEPT_TABLES

    def empty_all_tables(case):
        for name in case._databases_names(include_mirrors=False):
            connection = connections[name]
            with append_only_log_can_be_emptied(connection):
                tables = filled_tables(connection, names)
                connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_all_tables)
        yield


@pytest.fixture(scope="session", autouse=True)
def _clients_enter_as_with_a_server():
    """Django's test client calls Django alone; that of a test also asks the entrance before it."""
    from tests import entrances

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.test.client.ClientHandler", entrances.ShortWay)
        yield


def log_in(client, user, backend=None):
    """As Django's test client, but for a session before the login, which that makes and deletes."""
    request = HttpRequest()
    has_session = settings.SESSION_COOKIE_NAME in client.cookies
    request.session = client.session if has_session else SessionStore()
    login(request, user, backend)
    request.session.save()
    client._set_login_cookies(request)


def render(template, context):
    """As Django does outside of tests."""
    return template.nodelist.render(context)


@pytest.fixture(scope="session", autouse=True)
def _quick_clients(django_test_environment):
    """They note no templates, which no test asks for; and logging in is quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Template, "_render", render)
        patch.setattr(Client, "_login", log_in)
        yield


def use_archive(storage, archive):
    """Put the archive in the place of a storage's."""
    storage.archive = archive
    storage.database.large.objects = LargeTexts(archive.files)


@pytest.fixture(scope="session", autouse=True)
def _settings_of_tests():
    """What nearly all tests need, set once; a test may set another value for itself."""
    archive = settings.STORAGES["archive"] | {"OPTIONS": {"location": "of no test"}}
    with override_settings(
        STORAGES=settings.STORAGES | {"archive": archive},
        RETENTION_TOTAL_DAYS=1_000_000,  # fixed dates do not expire
        # A real hash is made to cost a third of a second. Servers of tests make real ones.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        RATE_LIMIT_PER_KEY=0,  # all tests come from one address
        RATE_LIMIT_PER_ADDRESS=0,
        LOGIN_TRIES=0,
        WHITENOISE_USE_FINDERS=False,  # 40 ms a client; tests of servers are about static files
    ):
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_waits():
    """No thread indexes what tests save; those of the index turn it on. No file waits for the disk.

    Commands and servers of their own do both.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_index, "ENABLED", False)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def _archives(tmp_path_factory):
    """Places of archives, which are made when something is archived. Most tests archive nothing."""
    folder = tmp_path_factory.mktemp("archives")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _archive_of_its_own(_archives):
    """No test sees another one's archive, or a developer's."""
    settings.STORAGES["archive"]["OPTIONS"]["location"] = next(_archives)
    if selection._storage_of.cache_info().currsize:  # made by an earlier test
        use_archive(get_storage(), configured_archive())


@pytest.fixture(scope="session")
def _aws_is_read_once():
    """What botocore knows of AWS is read for the first client, and not again for each: 0.2 s."""
    from botocore import session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "create_loader", functools.cache(session.create_loader))
        yield


@pytest.fixture(scope="session")
def dynamodb_server(_aws_is_read_once):
    """A DynamoDB, as `url`. There is an S3 as well."""
    from tests import servers, switches

    server = servers.DYNAMODB[switches.value("DYNAMODB_SERVER")]()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_server(dynamodb_server):
    """An S3, as `url`. Who uses it makes buckets of its own (`tests.buckets`)."""
    return dynamodb_server


@pytest.fixture(scope="session")
def dynamodb_model(dynamodb_server):
    """A PynamoDB model with a connection to the server."""
    from storage.dynamodb import mirror, stream
    from tests import clouds

    with pytest.MonkeyPatch.context() as patch:
        # A busy machine may take more than five seconds to make a table and then its stream.
        patch.setattr(stream, "TOGETHER", timedelta(hours=1))
        with pytest.MonkeyPatch.context() as for_the_model:
            for_the_model.setattr(mirror, "READ_SECONDS", PATIENCE_SECONDS)
            url = dynamodb_server.url
            model = mirror.bound("unused", clouds.REGION, url, clouds.CONNECTIONS)
        yield model


@pytest.fixture(scope="session")
def valkey_server():
    """A Redis server."""
    from tests import servers

    server = servers.start_valkey()
    yield server
    server.terminate()


@pytest.fixture(scope="session")
def valkey_cluster():
    """A Redis Cluster of three nodes."""
    from tests import servers

    cluster = servers.ValkeyCluster()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def redis_7():
    """A Redis 7, if the machine has one."""
    from tests import servers

    if (program := servers.redis_7()) is None:
        pytest.skip("there is no redis-server")
    server = servers.start_valkey(program=program)
    yield server
    server.terminate()


@pytest.fixture(scope="session")
def redis_8():
    """A Redis 8."""
    from tests import servers

    server = servers.start_valkey(program=servers.redis_8())
    yield server
    server.terminate()


@pytest.fixture(scope="session")
def redis_8_cluster():
    """A Redis Cluster of three nodes of Redis 8."""
    from tests import servers

    cluster = servers.ValkeyCluster(program=servers.redis_8())
    yield cluster
    cluster.stop()


@pytest.fixture(autouse=True)
def _fresh_memory():
    """No test sees what another one has left in this process's memory."""
    cache.clear()
    api_keys.forget()
    LOOKS.forget()


@pytest.fixture(autouse=True)
def hours(monkeypatch):
    """What tools sent is counted for this test alone; `flush` writes it, and no thread does."""
    fresh = Hours(in_background=False)
    monkeypatch.setattr(counts, "HOURS", fresh)
    return fresh


@pytest.fixture(autouse=True)
def key_uses(monkeypatch):
    """Calls with API keys are counted for this test alone; `flush` writes them, and no thread."""
    fresh = Uses(in_background=False)
    monkeypatch.setattr(key_use, "USES", fresh)
    return fresh


def pytest_generate_tests(metafunc):
    """A module marked `every_backend` runs on each; a test marked `on_sqlite` only there.

    What is marked `every_sql` runs with accounts in SQLite, and in PostgreSQL. Of both marks,
    `exhaustive=True` leaves the second to `make test-all`.
    """
    marked = metafunc.definition.get_closest_marker
    if (backend := marked("every_backend")) and not marked("on_sqlite"):
        metafunc.parametrize("backend", ["sqlite", other("dynamodb", backend)], indirect=True)
    if (sql := marked("every_sql")) and not marked("on_sqlite"):
        metafunc.parametrize("sql_database", ["sqlite", other("postgresql", sql)], indirect=True)


def other(name, mark):
    """The parameter that stands for what is not SQLite, as a mark wants it."""
    marks = pytest.mark.exhaustive if mark.kwargs.get("exhaustive") else ()
    return pytest.param(name, marks=marks)


@pytest.fixture(autouse=True)
def backend(request, monkeypatch):
    """Which backend `get_storage()` gives: SQLite, or DynamoDB with a new table and no cache."""
    if getattr(request, "param", "sqlite") == "dynamodb":
        from tests import clouds

        model = request.getfixturevalue("dynamodb_model")
        cloud = clouds.make_storage(model, DummyCache("", {}))
        cloud.database.index_lag_seconds = 0  # the server of tests has none
        monkeypatch.setattr(selection, "_storage_of", lambda process_id: cloud)


@pytest.fixture(scope="session")
def postgresql_server():
    """A PostgreSQL, asked for a password."""
    from tests import postgresql

    server = postgresql.PostgreSQL()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server, django_db_blocker):
    """The name of a database in it to which all migrations were applied, as in production."""
    from storage.startup import schema
    from tests import postgresql

    name = postgresql_server.create()
    with (
        override_settings(DATABASE_ROUTERS=["storage.startup.router.NoInteractions"]),
        django_db_blocker.unblock(),
        postgresql.as_default(postgresql_server.url(name), patient=True),
    ):
        # Two at once, as when two machines start: one of them waits.
        migrated = postgresql.in_threads(2, schema.migrate_under_lock)
    assert migrated == [None, None], migrated
    postgresql_server.empty(name)
    return name


@pytest.fixture
def in_postgresql(postgresql_server, migrated_postgresql, transactional_db):
    """The SQL database is in PostgreSQL, and empty. Gives the server."""
    from tests import postgresql

    with postgresql.as_default(postgresql_server.url(migrated_postgresql), patient=True):
        yield postgresql_server
    postgresql_server.empty(migrated_postgresql)


@pytest.fixture(autouse=True)
def sql_database(request, monkeypatch, backend):
    """Which SQL database there is: SQLite, or PostgreSQL in what is marked `every_sql`.

    Interactions are then in DynamoDB, which is started if a test needs them.
    """
    if getattr(request, "param", "sqlite") == "postgresql":
        request.getfixturevalue("in_postgresql")
        if selection._storage_of is _SQLITE:

            @functools.cache
            def cloud(process_id):
                from tests import clouds

                model = request.getfixturevalue("dynamodb_model")
                return clouds.make_storage(model, DummyCache("", {}))

            monkeypatch.setattr(selection, "_storage_of", cloud)


_SQLITE = selection._storage_of


@pytest.fixture
def storage(transactional_db):
    """The storage that the environment selects, empty."""
    return get_storage()


@pytest.fixture
def make_interaction():
    """Makes an interaction; every field can be given."""

    def make(**fields):
        defaults = {
            "user_id": "ada",
            "message": "What is a B-tree?",
            "response": "A balanced tree for disks.",
            "model_used": "model-1",
            "input_tokens": 5,
            "output_tokens": 7,
        }
        return ChatInteraction(**(defaults | fields))

    return make


@pytest.fixture
def make_client(transactional_db):
    """Makes an HTTP client that shows an API key, bound to `user_id` if one is given."""

    def make(user_id=""):
        made = ApiKey(name="test", user_id=user_id)
        key = ApiKey.objects.assign_key(made)
        made.save(force_insert=True)  # Django would try to update it first
        return Client(headers={"Authorization": f"Api-Key {key}"}, raise_request_exception=True)

    return make


@pytest.fixture
def client(make_client):
    """A client with a service-wide key."""
    return make_client()


@pytest.fixture
def root(transactional_db):
    """A browser in which a superuser has logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client
