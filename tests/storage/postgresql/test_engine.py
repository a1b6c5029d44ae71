"""Connections to PostgreSQL: what a restart, an outage and a fork cost, and what errors tell."""

import functools
import logging
import threading
import time
from unittest import mock

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, IntegrityError, OperationalError, connection, transaction

from config import databases
from storage.accounts import api_keys
from storage.cache import breaker
from storage.exceptions import StorageFull, StorageUnavailable
from storage.models import ModelPrice
from storage.postgresql import base, url
from storage.postgresql.base import DatabaseWrapper
from storage.sql import vendors
from storage.sql.errors import translate
from tests.clocks import Clock
from tests.forks import in_fork
from tests.postgresql import PASSWORD, URL_PASSWORD, as_default, in_threads
from tests.servers import wait_for

USERS = get_user_model().objects

waits = psycopg.Connection.wait


def pool():
    return DatabaseWrapper._connection_pools["default"]


def with_idle_connections(count):
    """Leave so many in the pool."""
    together = threading.Barrier(count)

    def hold():
        USERS.exists()
        together.wait()

    assert in_threads(count, hold) == [None] * count
    connection.close()
    assert pool().get_stats()["pool_available"] >= count


@pytest.fixture
def server_of_its_own(another_server, transactional_db):
    """A server that may be ended. The database is in it, without a table."""
    with as_default(another_server.url("postgres")):
        yield another_server


def select():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]


def round_trips(work):
    """How often a connection waits for its server meanwhile."""
    counted = []

    def counting(generator):
        answer = None
        while True:
            try:
                state = generator.send(answer)
            except StopIteration as end:
                return end.value
            counted.append(state)
            answer = yield state

    def wait(self, generator, *args):
        return waits(self, counting(generator), *args)

    with mock.patch.object(psycopg.Connection, "wait", wait):
        work()
    return len(counted)


def test_a_connection_is_lent_without_a_round_trip(in_postgresql):
    select()
    held = round_trips(select)
    connection.close()
    assert round_trips(select) == held


def test_a_read_that_the_server_ends_in_the_middle_is_repeated_once(in_postgresql):
    """Its connection was sound when the statement was sent."""

    def end_it_before(execute, sql, params, many, context):
        if not ended:
            pid = connection.connection.info.backend_pid
            ended.append(pid)
            with in_postgresql.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return execute(sql, params, many, context)

    ended = []
    with connection.execute_wrapper(end_it_before):
        assert select() == 1
    ended.clear()
    with (
        connection.execute_wrapper(end_it_before),
        connection.cursor() as cursor,
        pytest.raises(OperationalError),
    ):
        cursor.execute("CREATE TABLE made_once (id int)")


def test_idle_connections_that_a_restart_has_ended_let_nobody_wait(server_of_its_own, monkeypatch):
    def hold():
        select()
        together.wait()

    together = threading.Barrier(5)
    assert in_threads(5, hold) == [None] * 5
    assert pool().get_stats()["pool_available"] == 5
    server_of_its_own.restart()
    monkeypatch.setattr("psycopg_pool.pool.sleep", slept := mock.Mock())
    assert in_threads(5, select) == [1] * 5
    slept.assert_not_called()  # psycopg's own check sleeps for 1 + 2 + 4 + 8 seconds


def test_a_connection_that_a_thread_holds_is_replaced_too(server_of_its_own):
    assert select() == 1
    server_of_its_own.restart()
    assert select() == 1


def test_but_not_within_a_transaction(server_of_its_own):
    with pytest.raises(OperationalError), transaction.atomic():  # noqa: PT012
        select()
        server_of_its_own.restart()
        select()
    assert select() == 1


def test_what_the_server_sends_by_itself_ends_no_connection(server_of_its_own):
    select()
    held = connection.connection
    with server_of_its_own.connect() as other:
        other.execute("ALTER SYSTEM SET timezone = 'Asia/Tokyo'")
        other.execute("SELECT pg_reload_conf()")
        other.execute("ALTER SYSTEM RESET timezone")
    time.sleep(0.1)
    assert select() == 1
    assert connection.connection is held


def test_an_outage_costs_a_moment_and_then_nothing(server_of_its_own, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(breaker, "time", clock)
    select()
    connection.close()
    monkeypatch.setitem(url.POOL, "timeout", 0.3)
    base.close_pools()  # the next one has that timeout
    server_of_its_own.end()
    failed = in_threads(4, select)
    assert {type(error) for error in failed} == {OperationalError}
    for _ in range(50):  # nobody asks the server, so nobody waits for it
        with pytest.raises(OperationalError, match="not answered for a while"):
            select()
    server_of_its_own.start()

    def answers():
        try:
            return select() == 1
        except OperationalError:
            return False

    while not answers():  # each second one asks again
        clock.passes(breaker.PAUSE)


def test_a_server_that_hangs_holds_nobody_who_asks_for_a_key(server_of_its_own, monkeypatch):
    """Its host takes all packets, so no timeout of TCP ends it: without a limit this hangs."""
    monkeypatch.setattr(api_keys, "ANSWER_SECONDS", 0.3)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE storage_apikey (prefix text)")
    connection.close()  # the pool has it for whoever comes next
    server_of_its_own.suspend()
    try:
        (found,) = in_threads(1, lambda: api_keys.find("prefix.key"))
    finally:
        server_of_its_own.resume()
    assert type(found) is StorageUnavailable
    assert "has not answered in time" in str(found)
    assert select() == 1


def test_what_may_take_long_is_waited_for(in_postgresql):
    with (
        vendors.answered_within(0.1),
        connection.cursor() as cursor,
        pytest.raises(OperationalError, match="in time"),
    ):
        cursor.execute("SELECT pg_sleep(60)")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.2)")
        assert cursor.rowcount == 1


def expect_users(number):
    assert USERS.count() == number


def test_a_forked_child_has_connections_of_its_own(in_postgresql):
    USERS.create(username="grace")
    in_fork(functools.partial(expect_users, 1))
    assert USERS.count() == 1


def test_a_fork_in_a_transaction_leaves_the_parents_connection_alone(in_postgresql):
    with transaction.atomic():
        USERS.create(username="grace")
        in_fork(functools.partial(expect_users, 0))  # what is committed
        assert USERS.count() == 1
    assert USERS.count() == 1


def test_nothing_that_a_session_remembers_reaches_its_next_user(in_postgresql):
    """Nothing of ours sets such a state; what is found must be as of a new connection."""
    with_idle_connections(1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE source = 'session'")
        assert dict(cursor.fetchall()).keys() <= {"TimeZone"}, "which Django sets, always to UTC"
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert cursor.fetchone() == (0,)


def test_no_cursor_is_the_servers(in_postgresql):
    """It would be of a session, and a pooler by transactions may send the next FETCH elsewhere."""
    USERS.create(username="grace")
    for _ in USERS.iterator():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_cursors WHERE name <> ''")
            assert cursor.fetchone() == (0,)


def test_errors_have_no_values_of_rows(in_postgresql):
    USERS.create(username="ada")
    with pytest.raises(IntegrityError) as caught:
        USERS.create(username="ada")
    assert "ada" not in str(caught.value)
    assert "ada" not in str(translate(caught.value))
    with pytest.raises(IntegrityError) as caught:
        ModelPrice.objects.create(
            model_used="ada's", valid_from="2026-12-01", input_price=-1, output_price=0
        )
    assert "ada" not in str(caught.value), "PostgreSQL shows the whole row"


def test_a_nul_is_an_error_of_the_database_and_not_of_ours(in_postgresql):
    with pytest.raises(DataError):
        USERS.filter(username="a\0").exists()


@pytest.mark.parametrize(("code", "kind"), [("53100", StorageFull), ("57P01", StorageUnavailable)])
def test_the_servers_errors_are_the_stores(in_postgresql, code, kind):
    with pytest.raises(Exception, match="over") as caught, connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'it is over' USING ERRCODE = '{code}'; END $$")
    assert type(translate(caught.value)) is kind


def test_nobody_who_hangs_in_a_transaction_keeps_others_waiting(in_postgresql):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting::int FROM pg_settings WHERE name = ANY(%s)",
            [["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]],
        )
        assert dict(cursor.fetchall()) == {
            "statement_timeout": 20_000,
            "lock_timeout": 10_000,
            "idle_in_transaction_session_timeout": 60_000,
        }


class TestUrl:
    def test_all_that_libpq_knows_is_read(self):
        found = url.database(
            "postgresql://u%40x:p%2Fw%25@a:5433,b:5434/db?sslmode=verify-full&connect_timeout=9"
        )
        assert (found["USER"], found["PASSWORD"]) == ("u@x", "p/w%")
        assert (found["HOST"], found["PORT"], found["NAME"]) == ("a,b", "5433,5434", "db")
        assert found["OPTIONS"]["sslmode"] == "verify-full"
        assert found["OPTIONS"]["connect_timeout"] == "9"

    @pytest.mark.parametrize(
        "wrong",
        ["postgres://", "postgres://h", "postgres://u:p%zz@h/d", "postgres://h/d?passwort=hunter2"],
    )
    def test_a_mistake_tells_nothing_of_it(self, wrong):
        with pytest.raises(ValueError, match=r"^$") as caught:
            url.database(wrong)
        assert caught.value.__context__ is None or caught.value.__suppress_context__

    def test_without_psycopg_a_start_says_what_to_install(self, monkeypatch, tmp_path):
        monkeypatch.setattr(databases, "find_spec", lambda name: None)
        with pytest.raises(ImproperlyConfigured, match=r"-r requirements/production\.txt$"):
            databases.sql_database("postgres://h/d", tmp_path, "production")

    def test_tls_that_the_server_lacks_is_refused(self, in_postgresql, monkeypatch):
        monkeypatch.setitem(url.POOL, "timeout", 0.3)
        address = in_postgresql.url("postgres") + "?sslmode=require"
        with as_default(address), pytest.raises(OperationalError):
            select()

    def test_a_wrong_password_is_told_and_not_shown(self, in_postgresql, caplog, monkeypatch):
        monkeypatch.setitem(url.POOL, "timeout", 0.3)
        caplog.set_level(logging.DEBUG)
        address = in_postgresql.url("postgres").replace(URL_PASSWORD, "hunter2")
        with as_default(address):
            with pytest.raises(OperationalError):
                select()
            wait_for(lambda: "password authentication failed" in caplog.text, "the warning")
        assert "hunter" not in caplog.text
        assert PASSWORD not in caplog.text
