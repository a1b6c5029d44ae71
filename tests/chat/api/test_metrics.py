"""`/metrics`: who may see it, what moves it, and that all processes count."""

import os
import re
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.test import Client
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from chat.ingest.reasons import Reason
from chat.ingest.sources import SOURCES
from chat.metrics import store
from chat.metrics.files import leave_metrics
from storage.cache.metrics import BREAKERS_OPEN
from tests.chat import fork_server
from tests.chat.calls import INTERACTIONS, LOOKUP, PROBLEM, new, one, patch, post, saved
from tests.chat.processes import Server, run
from tests.servers import wait_for

LABELS = {
    "kind": {"interaction", "answer"},
    "result": {"hit", "miss", "waited", "busy", "done", "refused", "kept", "unchanged"},
    "reason": {"unfit", "outdated", "missing", "unknown", "forbidden"}
    | {reason.label for reason in Reason},
    "source": set(SOURCES),
    "limit": {"key", "address", "login", "busy"},
    "backend": {"sqlite", "dynamodb", "dictionary"},
    "outcome": {"ok", "refused", "unavailable", "full", "error"},
    "state": {"hot", "cold", "due", "overdue"},
    "place": {"data", "backups"},
    "file": {"database", "log"},
    "resource": {"requests", "work", "executor", "connections", "writers", "calls"},
}


OF_REQUESTS = {"le", "method", "operation", "route", "status"}
"""They have many values: tests/config/test_watched.py puts markers into all that clients send."""


@contextmanager
def closing_servers():
    """Starts servers, which end at the end."""
    started = []

    def start(folder, **values):
        started.append(Server(folder, **values))
        return started[-1].wait_until_it_answers()

    try:
        yield start
    finally:
        for server in started:
            server.stop()


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return tmp_path


def samples(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        if family.name.startswith("chat_")
        for sample in family.samples
    }


def scraped(client):
    response = client.get("/metrics")
    assert response.status_code == 200
    return samples(response.content.decode())


def test_a_service_wide_key_gets_the_text_format(client):
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE chat_cache_reads_total counter" in response.content.decode()
    head = client.head("/metrics")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_it_is_for_reading_only(client, method):
    response = client.generic(method, "/metrics")
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


def test_without_a_key_or_with_one_of_a_user_it_says_nothing(make_client):
    for caller, status in ((Client(), 401), (make_client("ada"), 403)):
        response = caller.get("/metrics")
        assert (response.status_code, response["Content-Type"]) == (status, PROBLEM)
        assert b"chat_" not in response.content


def test_the_schema_of_the_api_is_without_it(client):
    assert b"/metrics" not in client.get("/api/schema/").content


def test_reading_twice_is_a_miss_and_a_hit(client):
    interaction_id = saved(client)["interaction_id"]
    client.get(one(interaction_id))  # learns what others have committed: the fixtures
    cache.clear()  # which a write fills
    before = scraped(client)
    for _ in range(2):
        assert client.get(one(interaction_id)).status_code == 200
    after = scraped(client)
    moved = {
        result: after["chat_cache_reads_total", "interaction", result]
        - before["chat_cache_reads_total", "interaction", result]
        for result in ("hit", "miss", "waited", "busy")
    }
    assert moved == {"hit": 1, "miss": 1, "waited": 0, "busy": 0}


def test_refused_keys_are_counted_by_reason(client, make_client):
    wrong = {"Authorization": "Api-Key a.b"}
    before = scraped(client)
    Client().get(INTERACTIONS)
    Client().get(INTERACTIONS, headers=wrong)
    make_client("ada").get(INTERACTIONS)
    after = scraped(client)
    name = "chat_api_key_refusals_total"
    for reason in ("missing", "unknown", "forbidden"):
        assert after[name, reason] == before[name, reason] + 1


def test_labels_tell_nothing_of_users_and_texts(client):
    secret = uuid4().hex
    record = new(user_id=secret, message=secret, response=secret, interaction_id=secret)
    post(client, record)
    cache.clear()
    client.get(one(secret))
    assert post(client, {"user_id": secret, "message": secret}, path=LOOKUP).status_code == 200
    patch(client, secret, {"response": f"{secret}!"})
    text = client.get("/metrics").content.decode()
    assert secret not in text
    for family in text_string_to_metric_families(text):
        if family.name.startswith("chat_"):
            for sample in family.samples:
                for name, value in sample.labels.items():
                    assert name in OF_REQUESTS or value in LABELS[name]


# What commands leave


def measured(name, value):
    registry = CollectorRegistry()
    Gauge(name, "What a command has measured.", registry=registry).set(value)
    return registry


def test_what_a_command_has_left_is_told_until_it_leaves_something_else(client, data_folder):
    leave_metrics("some_command", measured("chat_some", 1))
    leave_metrics("other_command", measured("chat_other", 2))
    leave_metrics("some_command", measured("chat_some", 3))
    found = scraped(client)
    assert (found["chat_some",], found["chat_other",]) == (3, 2)
    folder = data_folder / "metrics-of-commands"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["other_command.prom", "some_command.prom"]


def test_a_metric_that_comes_twice_is_told_once(client):
    leave_metrics("a", measured("chat_some", 1))
    leave_metrics("b", measured("chat_some", 2))
    leave_metrics("c", measured("chat_cache_breakers_open", 77))
    BREAKERS_OPEN.set(0)  # tests of outages before this one may have left some open
    text = client.get("/metrics").content.decode()
    assert len(re.findall("^chat_some ", text, re.MULTILINE)) == 1
    assert re.findall("^chat_cache_breakers_open .*", text, re.MULTILINE) == [
        "chat_cache_breakers_open 0.0"
    ]


def labelled(name, command):
    registry = CollectorRegistry()
    Gauge(name, "What commands have measured.", ["command"], registry=registry).labels(command)
    return registry


def test_a_metric_of_several_commands_is_told_once_with_the_samples_of_all(client, data_folder):
    leave_metrics("a", labelled("chat_some", "a"))
    leave_metrics("b", labelled("chat_some", "b"))
    leave_metrics("copy-of-b", labelled("chat_some", "b"))
    other_type = '# TYPE chat_some untyped\nchat_some{command="c"} 1\n'
    (data_folder / "metrics-of-commands" / "c.prom").write_text(other_type)
    text = client.get("/metrics").content.decode()
    assert re.findall("^chat_some.*", text, re.MULTILINE) == [
        'chat_some{command="a"} 0.0',
        'chat_some{command="b"} 0.0',
    ]
    assert text.count("# TYPE chat_some ") == 1


def test_files_that_are_no_metrics_are_left_out(client, data_folder, caplog):
    leave_metrics("some_command", measured("chat_some", 1))
    folder = data_folder / "metrics-of-commands"
    (folder / "a\nINFO forged: {} .prom").write_text("chat_bad{")
    (folder / "binary.prom").write_bytes(b"\xff\x00")
    (folder / "folder.prom").mkdir()
    (folder / "away.prom").symlink_to(folder / "nowhere")
    (folder / "other.txt").write_text("chat_bad 1")
    (folder / "partial.prom.1.2").write_text("chat_bad 1")
    os.mkfifo(folder / "pipe.prom")
    found = {name for name, *_ in scraped(client)}
    assert "chat_some" in found
    assert "chat_bad" not in found
    assert "\n" not in "".join(record.getMessage() for record in caplog.records)


# Several processes


def count_in(folder, program):
    """Run a program that counts with the others of a server."""
    values = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = fork_server.run(["-c", program], values)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


PROCESS = """
from storage.cache import metrics
metrics.READS.labels("interaction", "hit").inc()
metrics.BREAKERS_OPEN.inc()
"""

SCRAPE = """
import django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import config
django.setup()
from chat.metrics.views import _Scrape, generate_latest
print(generate_latest(_Scrape()).decode())
"""


def test_processes_add_up_and_open_breakers_end_with_theirs(tmp_path):
    for _ in range(2):
        count_in(tmp_path, PROCESS)
    found = samples(count_in(tmp_path, f"{SCRAPE}"))
    assert found["chat_cache_reads_total", "interaction", "hit"] == 2
    assert found.get(("chat_cache_breakers_open",), 0) == 0
    found = samples(count_in(tmp_path, PROCESS + SCRAPE))
    assert found["chat_cache_reads_total", "interaction", "hit"] == 3
    assert found["chat_cache_breakers_open",] == 1


def test_a_process_that_ended_before_it_counted_stops_no_scrape(tmp_path):
    """prometheus_client makes a file empty, and then gives it its size."""
    count_in(tmp_path, PROCESS)
    for name in ("counter_1.db", "gauge_livesum_2.db", "histogram_3.db"):
        (tmp_path / name).touch()
    found = samples(count_in(tmp_path, SCRAPE))
    assert found["chat_cache_reads_total", "interaction", "hit"] == 1


def test_both_workers_of_a_server_count(tmp_path):
    with closing_servers() as start:
        server = start(tmp_path, WORKERS="2")
        (folder,) = (tmp_path / "metrics").iterdir()
        wait_for(lambda: len(processes_of(folder)) >= 2, "the start of both")
        assert len(processes_of(folder)) == 2
        path = one(server.call("POST", INTERACTIONS, new())[1]["interaction_id"])
        before = total_reads(server)
        for _ in range(40):  # each on a new connection, which either worker takes
            assert server.call("GET", path)[0] == 200
        # What the other worker has counted is told a second later.
        wait_for(lambda: total_reads(server) == before + 40, "all reads")
        name = "chat_http_request_duration_seconds_count"
        of_reads = name, "GET", "api/v1/interactions/<path:interaction_id>/", "200"
        wait_for(lambda: samples_of(server).get(of_reads) == 40, "all requests")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "metrics").stat().st_mode & 0o777 == 0o700


def total_reads(server):
    """Reads by id that any process has counted, from a scrape that is the same whoever answers."""
    found = samples_of(server)
    return sum(
        found["chat_cache_reads_total", "interaction", result]
        for result in ("hit", "miss", "waited", "busy")
    )


def samples_of(server):
    headers = {"Authorization": f"Api-Key {server.key}"}
    status, _, body = server.request("GET", "/metrics", headers=headers)
    assert status == 200
    return samples(body.decode())


def processes_of(folder):
    return {file.stem.rpartition("_")[2] for file in folder.glob("*.db")}


def test_a_start_removes_what_servers_have_left_that_have_ended(tmp_path):
    with closing_servers() as start:
        first = start(tmp_path)
        (folder,) = (tmp_path / "metrics").iterdir()
        second = start(tmp_path)
        assert len(list((tmp_path / "metrics").iterdir())) == 2
        assert folder.exists()
        assert total_reads(first) == total_reads(second) == 0
        assert first.interrupt() == 0
        start(tmp_path)
        assert len(list((tmp_path / "metrics").iterdir())) == 2
        assert not folder.exists()


def test_a_command_counts_in_its_memory(folder):
    assert run(folder, "export_interactions").returncode == 0
    assert not (folder / "metrics").exists()


def samples_of_store():
    store.forget()
    try:
        return {family.name: family.samples for family in store.Store().collect()}
    finally:
        store.forget()


@pytest.mark.django_db
def test_of_a_database_that_is_backed_up_elsewhere_no_backup_is_missed(monkeypatch):
    monkeypatch.setattr("chat.operations.backed_up_elsewhere", lambda: "PostgreSQL")
    assert samples_of_store()["chat_backup_timestamp_seconds"] == []


@pytest.mark.django_db
def test_whoever_looks_for_room_sees_all_files_of_the_database(tmp_path, settings, monkeypatch):
    file = tmp_path / "data.sqlite3"
    for end, size in (("", 1), ("-wal", 2), (".search", 4), (".search-wal", 8)):
        Path(f"{file}{end}").write_bytes(bytes(size))
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(file))

    def shown():
        found = samples_of_store()["chat_sqlite_file_bytes"]
        return {sample.labels["file"]: sample.value for sample in found}

    assert shown() == {"database": 1, "log": 2, "search": 12}
    for end in ("-wal", ".search-wal"):  # as after the last server has ended
        Path(f"{file}{end}").unlink()
    assert shown() == {"database": 1, "search": 4}


@pytest.mark.django_db
def test_a_database_in_postgresql_is_no_file_of_its_name(tmp_path, settings, monkeypatch):
    """Such as `chat`, which is also a folder where the server of a container starts."""
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(tmp_path))
    monkeypatch.setattr("chat.metrics.store.is_postgresql", lambda: True)
    assert samples_of_store()["chat_sqlite_file_bytes"] == []


def test_without_space_on_the_disk_the_server_starts_and_says_so(tmp_path):
    (tmp_path / "metrics").touch()  # no folder can be made either
    with closing_servers() as start:
        server = start(tmp_path)
        assert "Each process will report its own metrics only" in server.output
        assert total_reads(server) == 0
