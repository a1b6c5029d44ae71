"""What is done on one machine is done on all; and a restart of PostgreSQL costs a moment.

Cheap tests of the same promises: `tests/storage/postgresql`, `tests/storage/test_api_keys.py`.
"""

import json
import re
import signal
import threading
import time
from http.client import HTTPException
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from storage.accounts.api_keys import MEMORY_SECONDS

pytestmark = pytest.mark.exhaustive

LIST = "/api/v1/interactions/"


def new_key(machine, name="phone"):
    made = machine.manage("create_api_key", name)
    assert made.returncode == 0, made.stderr
    return re.search(r"\S{8}\.\S{32}", made.stdout.decode())[0]


@pytest.fixture(scope="module")
def key(machines):
    return new_key(machines[0])


def test_of_two_that_started_at_once_one_has_migrated(machines, postgresql):
    with postgresql.connect("accounts") as connection:
        twice = connection.execute(
            "SELECT app, name FROM django_migrations GROUP BY 1, 2 HAVING count(*) > 1"
        ).fetchall()
    assert twice == []
    for machine in machines:
        assert "Traceback" not in machine.server.output


def test_a_key_made_on_one_works_on_both(machines, key):
    assert [machine.get(LIST, key)[0] for machine in machines] == [200, 200]


def test_what_one_saves_the_other_reads(machines, key):
    body = {"user_id": "ada", "message": "m", "response": "r", "model_used": "model"}
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
    status, _, answer = machines[0].server.request("POST", LIST, json.dumps(body), headers)
    assert status == 201
    interaction_id = json.loads(answer)["interaction_id"]
    assert machines[1].get(f"{LIST}{interaction_id}/", key)[0] == 200


def test_a_key_revoked_on_one_ends_on_the_other(machines, postgresql):
    made = new_key(machines[0], "to be revoked")
    assert [machine.get(LIST, made)[0] for machine in machines] == [200, 200]
    with postgresql.connect("accounts") as connection:
        connection.execute(
            "UPDATE storage_apikey SET revoked = true WHERE prefix = %s", [made.partition(".")[0]]
        )
    time.sleep(MEMORY_SECONDS)
    assert [machine.get(LIST, made)[0] for machine in machines] == [401, 401]


def cookies_of(headers, jar):
    for line in headers.get_all("Set-Cookie") or ():
        for name, morsel in SimpleCookie(line).items():
            jar[name] = morsel.value
    return "; ".join(f"{name}={value}" for name, value in jar.items())


def test_a_session_that_began_on_one_holds_on_the_other(machines):
    made = machines[0].manage(
        *("createsuperuser", "--noinput", "--username", "grace", "--email", ""),
        DJANGO_SUPERUSER_PASSWORD="a b c d e",
    )
    assert made.returncode == 0, made.stderr
    jar = {}
    _, headers, page = machines[0].get("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.decode())[1]
    form = {"username": "grace", "password": "a b c d e", "csrfmiddlewaretoken": token}
    status, headers, _ = machines[0].server.request(
        "POST",
        "/admin/login/",
        urlencode(form),
        {
            "Cookie": cookies_of(headers, jar),
            "Content-Type": "application/x-www-form-urlencoded",
            "Referer": f"http://127.0.0.1:{machines[0].server.port}/admin/login/",
        },
    )
    assert status == 302
    cookie = cookies_of(headers, jar)
    assert [machine.get("/admin/", Cookie=cookie)[0] for machine in machines] == [200, 200]
    assert machines[1].get("/admin/")[0] == 302, "without a session"


def test_commands_say_in_one_line_that_postgresql_is_backed_up_elsewhere(machines):
    backup = machines[0].manage("backup", "--dry-run")
    assert b"use its provider's backups, or pg_dump" in backup.stderr
    for words in (["restore", "latest", "--yes"], ["verify_backup"]):
        done = machines[0].manage(*words)
        (line,) = done.stderr.decode().splitlines()
        assert (done.returncode, "pg_dump" in line) == (1, True)
    again = machines[0].manage("restore", "--erase-again")
    assert (again.returncode, json.loads(again.stdout)["erased"]) == (0, 0)
    status = machines[0].manage("storage_status")
    assert json.loads(status.stdout)["newest_backup"] is None


def test_a_receipt_is_honest_about_postgresql(machines, key):
    erased = machines[0].manage("erase_user", "ada")
    assert erased.returncode == 0, erased.stderr
    (erasure,) = json.loads(erased.stdout)["erasures"]
    names = [copy["name"] for copy in erasure["receipt"]["copies"]]
    assert "PostgreSQL: rows until VACUUM, write-ahead log, backups" in names
    assert erasure["receipt"]["copies_gone_by"] is None


def restarts(postgresql, all_are_answered):
    postgresql.restart()


def is_away(postgresql, all_are_answered):
    postgresql.end()
    all_are_answered()
    postgresql.start()


def hangs(postgresql, all_are_answered):
    """It keeps its connections, and answers nothing."""
    postgresql.suspend()
    all_are_answered()
    postgresql.resume()


def crashes(postgresql, all_are_answered):
    postgresql.restart(signal.SIGKILL)


@pytest.mark.parametrize("happens", [restarts, is_away, hangs, crashes])
def test_whatever_happens_to_postgresql_every_client_is_answered_meanwhile(
    machines, postgresql, key, happens
):
    """If a request waited for PostgreSQL, which waits for the requests, this would never end."""
    keys = [key, *(new_key(machines[1], f"key {number}") for number in range(3))]
    answers, ended = [[] for _ in range(16)], threading.Event()

    def client(number):
        turn = number
        while not ended.is_set():
            turn += 1
            status, headers, _ = machines[turn % 2].get(LIST, keys[turn % len(keys)])
            answers[number].append((status, headers["Content-Type"]))

    def all_are_answered():
        """Wait until each client has two more answers: one request may have begun before."""
        before = [len(given) for given in answers]
        while any(len(given) < count + 2 for given, count in zip(answers, before, strict=True)):
            time.sleep(0.05)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in clients:
        thread.start()
    all_are_answered()
    happens(postgresql, all_are_answered)
    all_are_answered()
    while {status for given in answers for status, _ in given[-2:]} != {200}:
        all_are_answered()  # it goes on by itself
    ended.set()
    for thread in clients:
        thread.join()
    seen = {answer for given in answers for answer in given}
    assert {status for status, _ in seen} <= {200, 503}
    assert {kind for status, kind in seen if status == 503} <= {"application/problem+json"}


def test_one_that_is_killed_takes_nothing_with_it(machines, key):
    first, second = machines
    body = {"user_id": "bob", "message": "m", "response": "r", "model_used": "model"}
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
    seen, ended = [], threading.Event()

    def client():
        while not ended.is_set():
            try:
                status, _, answer = first.server.request("POST", LIST, json.dumps(body), headers)
            except (OSError, HTTPException):
                return
            assert status == 201
            seen.append(json.loads(answer)["interaction_id"])

    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    while len(seen) < 20:
        time.sleep(0.01)
    first.server.end(signal.SIGKILL)
    ended.set()
    for thread in clients:
        thread.join()
    assert {second.get(f"{LIST}{each}/", key)[0] for each in seen} == {200}
    made = new_key(second, "made meanwhile")
    first.serve()
    first.server.wait_until_it_answers()
    assert first.get(f"{LIST}{seen[-1]}/", made)[0] == 200


def test_stopped_servers_leave_no_connection(machines, postgresql):
    with postgresql.connect() as connection:
        held = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'accounts'"
        assert connection.execute(held).fetchone()[0] <= 2 * 6
