"""`cache_audit` finds every entry that differs from the database, and no others."""

import os
import pickle
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import orjson
import pytest
import redis
from django.core.cache.backends.dummy import DummyCache
from django.core.management import CommandError, call_command
from prometheus_client.parser import text_string_to_metric_families

from storage.cache import audit, keys
from storage.exceptions import StorageUnavailable
from storage.records.json import from_json, to_json
from storage.startup import selection
from tests import clouds, servers
from tests.chat.processes import give_tables, run
from tests.storage.cache.conftest import ANSWER_KEY, ID_KEY, QUESTION

HASH = "0" * 64


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "PAUSE_SECONDS", 0.0)
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def cached(cloud, stored):
    """The interaction `i` and both answers, cached as they are."""
    cloud.get_interaction_sync("i")
    cloud.find_answer_sync(QUESTION)
    return stored


@pytest.fixture
def audited(cloud):
    """Compares `sample` entries, or all."""

    def audited(sample=None):
        return cloud.cache.audit(cloud.database.read, cloud.database.find_answer, sample)

    return audited


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `cache_audit`; returns its exit status, output and errors."""

    def run(storage, *arguments):
        monkeypatch.setattr(selection, "_storage_of", lambda process_id: storage)
        status = 0
        try:
            call_command("cache_audit", *arguments)
        except SystemExit as ended:
            status = ended.code
        except CommandError as error:
            return error.returncode, "", str(error)
        return status, *capsys.readouterr()

    return run


def changed(interaction, **fields):
    return b"V" + orjson.dumps({**orjson.loads(to_json(interaction)), **fields})


def kinds(found):
    return {kind.value: count for kind, count in found.entries.items() if count}


def test_an_unchanged_cache_has_no_difference(cloud, cached, command, audited):
    cloud.cache_set_sync("chat:ada:own", "text", 60)
    status, output, errors = command(cloud)
    assert (status, errors) == (0, "")
    assert "0 differences." in output
    assert kinds(audited()) == {"interaction": 1, "answer": 1, "string": 1}


def test_leases_and_marks_are_counted(stored, raw, audited):
    raw.set(ID_KEY, b"T0123456789abcdef")
    raw.set(ANSWER_KEY, b"X")
    raw.set(f"chat::{HASH}", b"B0123456789abcdef")
    found = audited()
    assert (kinds(found), found.differences, found.ages) == ({"lease": 1, "mark": 2}, [], [])


@pytest.mark.parametrize("arguments", [(), ("--all",), ("--sample", "5")], ids=str)
def test_a_changed_value_is_named_without_its_text(cloud, cached, raw, command, arguments):
    raw.set(ID_KEY, changed(cached, response="forged text"), ex=60)
    status, output, errors = command(cloud, *arguments)
    assert status == 1
    assert errors == f"{ID_KEY} (interaction of i) differs.\n"
    assert "1 differences." in output
    assert "forged" not in output + errors


def test_a_cached_value_that_was_deleted_or_has_expired_differs(
    cloud, cached, raw, settings, audited
):
    value = raw.get(ID_KEY)
    settings.RETENTION_TOTAL_DAYS = 0.0
    assert [found.interaction_id for found in audited().differences] == ["i"]
    settings.RETENTION_TOTAL_DAYS = 1_000_000
    cloud.delete_interaction_sync("i")
    assert audited().differences == []
    raw.set(ID_KEY, value)
    assert [found.interaction_id for found in audited().differences] == ["i"]


def test_an_entry_of_another_user_or_id_differs(cloud, cached, raw, command):
    raw.set(ID_KEY, changed(cached, user_id="eve"))
    assert command(cloud)[0] == 1
    raw.set(ID_KEY, changed(cached, interaction_id="j"))
    status, _, errors = command(cloud)
    assert (status, errors) == (1, f"{ID_KEY} (unfit) differs.\n")


def test_an_id_that_answers_no_more_is_outdated(cloud, cached, raw, make_interaction, audited):
    cloud.create_interaction_sync(make_interaction(interaction_id="of-eve", user_id="eve"))
    cloud.create_interaction_sync(make_interaction(interaction_id="empty", response=""))
    for interaction_id in ("of-eve", "empty"):
        raw.delete(keys.interaction_key(interaction_id))
    for key in (*keys.answer_keys(cached), *keys.answer_keys(make_interaction(user_id="eve"))):
        raw.delete(key)
    for pointer in ('"of-eve"', '"empty"', '"unknown"'):
        raw.set(ANSWER_KEY, f"V{pointer}")
        found = audited()
        assert kinds(found) == {"interaction": 1, "outdated_answer": 1}
        assert found.differences == []


@pytest.mark.parametrize("model_used", [None, "model-1"])
def test_an_answer_that_is_not_the_newest_differs(
    cloud, cached, raw, make_interaction, command, model_used
):
    cloud.save_interaction_sync(make_interaction(interaction_id="newer"))
    cloud.save_interaction_sync(make_interaction(interaction_id="of-other", model_used="model-2"))
    old, newest = keys.answer_keys(cached)[model_used is not None], "of-other"
    for key in keys.answer_keys(cached):
        raw.delete(key)
    raw.set(old, b'V"i"')
    status, _, errors = command(cloud)
    assert status == 1
    assert errors == f"chat:*:{old.rpartition(':')[2]} (answer of i) differs.\n"
    raw.set(old, b'V"newer"' if model_used else f'V"{newest}"')
    assert command(cloud)[0] == 0


def test_an_answer_that_the_index_does_not_show_yet_is_right(cloud, cached, monkeypatch, audited):
    monkeypatch.setattr(type(cloud.database), "find_answer", lambda self, question, read: None)
    assert audited().differences == []


POISON = {
    "a pickle": pickle.dumps([1]),
    "a value of 5 MB": b'V"' + b"x" * 5_000_000 + b'"',
    "deep JSON": b"V" + b"[" * 1_000_000,
    "a deep string": b"[" * 1_000_000,
    "nothing": b"",
    "no UTF-8": b"V\xff",
    "a number": b"V5",
    "an id of control characters": None,
    "a list": [b"a", b"list"],
}


@pytest.mark.parametrize("name", POISON)
@pytest.mark.parametrize("place", [ID_KEY, ANSWER_KEY], ids=["id", "answer"])
def test_poison_is_unfit(stored, raw, name, place, audited):
    cell = POISON[name]
    if cell is None:
        cell, place = changed(stored, interaction_id="\n"), keys.interaction_key("\n")
    if isinstance(cell, list):
        raw.rpush(place, *cell)
    else:
        raw.set(place, cell)
    found = audited()
    assert (kinds(found), len(found.differences)) == ({"unfit": 1}, 1)


@pytest.mark.parametrize(
    "key",
    ["chat:", "chat:ada", "chat:ada:secret", b"chat:\xff:" + HASH.encode(), f"chat:a\nb:{HASH}x"],
    ids=repr,
)
def test_keys_of_another_form_are_unfit_and_not_shown(cloud, raw, key, command):
    raw.set(key, b'V"i"')
    raw.set("other:1", "of another application")
    status, _, errors = command(cloud, "--all")
    shown = f"chat:*:{HASH}" if isinstance(key, bytes) else "chat:*"
    assert (status, errors) == (1, f"{shown} (unfit) differs.\n")


def test_users_are_not_shown(cloud, cached, raw, command, data_folder):
    raw.set(f"chat:ada:{HASH}", b"V5")
    _, output, errors = command(cloud)
    assert errors == f"chat:*:{HASH} (unfit) differs.\n"
    written = (data_folder / "metrics-of-commands" / "cache_audit.prom").read_text()
    assert "ada" not in output + errors + written


# While others write


@pytest.mark.parametrize("then", ["a mark", "gone", "the new value"])
def test_a_write_in_between_is_no_difference(cached, raw, monkeypatch, then, audited):
    """The database has the new row, and the entry that was read before is the old one."""
    newer = from_json(changed(cached, response="newer")[1:])
    raw.set(ID_KEY, changed(cached, response="older"))

    def write(seconds):
        raw.delete(ID_KEY)
        if then == "a mark":
            raw.set(ID_KEY, b"B0123456789abcdef")
        elif then == "the new value":
            raw.set(ID_KEY, b"V" + to_json(newer))

    monkeypatch.setattr(audit, "time", SimpleNamespace(sleep=write))
    assert audited().differences == []


def test_a_row_that_equals_the_entry_the_second_time_is_no_difference(
    cloud, cached, monkeypatch, audited
):
    read, reads = type(cloud.database).read, []

    def lagging(self, interaction_id):
        reads.append(interaction_id)
        return None if len(reads) == 1 else read(self, interaction_id)

    monkeypatch.setattr(type(cloud.database), "read", lagging)
    assert audited().differences == []
    assert len(reads) > 2


def test_while_others_write_there_is_no_difference(cloud, make_interaction, audited):
    """Not at moments that a test chooses, but by chance, until some dozens of entries were seen."""
    is_over = threading.Event()

    def write(number):
        made = make_interaction(interaction_id=f"of-{number}")
        while not is_over.is_set():
            cloud.save_interaction_sync(make_interaction(interaction_id=made.interaction_id))
            cloud.get_interaction_sync(made.interaction_id)
            cloud.find_answer_sync(QUESTION)
            cloud.update_interaction_sync(made.interaction_id, {"response": str(time.monotonic())})
            if number % 2:
                cloud.delete_interaction_sync(made.interaction_id)

    seen = 0
    with ThreadPoolExecutor(4) as executor:
        writers = [executor.submit(write, number) for number in range(4)]
        try:
            while seen < 40 and not any(writer.done() for writer in writers):
                found = audited()
                assert found.differences == []
                seen += found.entries["interaction"]
        finally:
            is_over.set()
    assert [writer.result() for writer in writers] == [None] * 4


# How much it looks at


def test_a_sample_costs_no_more_than_its_size(raw, audited):
    """However many entries there are, and whoever else uses the server."""
    nodes = [raw]
    if isinstance(raw, redis.RedisCluster):
        nodes = [raw.get_redis_connection(node) for node in raw.get_primaries()]
    with raw.pipeline(transaction=False) as calls:
        for number in range(3_000):
            calls.set(keys.interaction_key(str(number)), b"T0123456789abcdef")
            calls.set(f"other:{number}", "x", ex=60)
        calls.execute()
    for node in nodes:
        node.config_resetstat()
    assert 300 <= sum(audited(300).entries.values()) <= 303
    for node in nodes:
        used = node.info("commandstats")
        assert 90 <= used["cmdstat_get"]["calls"] <= 303
        assert used["cmdstat_scan"]["calls"] <= 3
        assert "cmdstat_keys" not in used
    assert kinds(audited()) == kinds(audited(10_000)) == {"lease": 3_000}


# What it reports


def test_ages_are_of_values_and_in_seconds(cloud, cached, raw, settings, data_folder, command):
    started = time.monotonic()
    raw.pexpire(ID_KEY, settings.CACHE_TTL * 1000 - 20_000)
    raw.pexpire(ANSWER_KEY, settings.CACHE_TTL * 1000 - 10_000)
    raw.set(f"chat::{HASH}", b"X", ex=60)
    raw.set(keys.interaction_key("j"), changed(cached, interaction_id="j"))  # never expires
    status, output, _ = command(cloud)
    assert status == 1
    passed = time.monotonic() - started + 0.1  # they are rounded
    found = re.search(r"up to ([0-9.]+) s old, half of them up to ([0-9.]+) s", output)
    assert 20 <= float(found[1]) < 20 + passed
    assert 15 <= float(found[2]) < 15 + passed
    text = (data_folder / "metrics-of-commands" / "cache_audit.prom").read_text()
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert told["chat_cache_audit_entries", "interaction"] == 2
    assert told["chat_cache_audit_entries", "mark"] == 1
    assert told["chat_cache_audit_entries", "unfit"] == 0
    assert told["chat_cache_audit_differences",] == 1
    assert told["chat_cache_audit_oldest_seconds",] == pytest.approx(20, abs=passed)
    assert told["chat_cache_audit_timestamp_seconds",] > 1.7e9


def test_wrong_use_is_status_2(tmp_path):
    give_tables(tmp_path)
    assert run(tmp_path, "cache_audit", "--sample", "5", "--all").returncode == 2


def test_in_development_there_is_nothing_to_look_at(tmp_path):
    give_tables(tmp_path)
    finished = run(tmp_path, "cache_audit")
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert finished.stdout == (
        b"Each server has its cache in its own memory, where no other process can look. "
        b"Nothing to compare.\n"
    )
    assert not (tmp_path / "metrics-of-commands").exists()


def test_without_a_cache_there_is_nothing_to_look_at(dynamodb_model, command):
    uncached = clouds.make_storage(dynamodb_model, DummyCache("", {}))
    status, output, errors = command(uncached)
    assert (status, errors) == (0, "")
    assert output == "There is no cache: REDIS_URL is not set. Nothing to compare.\n"


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_without_redis_it_is_one_line_and_status_1(tmp_path, dynamodb_server, scheme):
    finished = run(
        tmp_path,
        "cache_audit",
        ENVIRONMENT="production",
        SECRET_KEY="x" * 50,
        AWS_REGION=clouds.REGION,
        DYNAMODB_ENDPOINT_URL=dynamodb_server.url,
        REDIS_URL=f"{scheme}://:hunter2@127.0.0.1:{servers.free_port()}/0",
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith(b"CommandError: Redis cannot be asked: ")
    assert finished.stderr.count(b"\n") == 1
    assert b"hunter2" not in finished.stderr


def test_without_dynamodb_it_is_one_line_and_status_1(cloud, cached, command, monkeypatch):
    def away(self, interaction_id):
        raise StorageUnavailable("DynamoDB is away.")

    monkeypatch.setattr(type(cloud.database), "read", away)
    assert command(cloud) == (1, "", "DynamoDB is away.")


def test_a_metrics_file_that_cannot_be_written_is_one_line(cloud, cached, command, data_folder):
    os.mkfifo(data_folder / "metrics-of-commands")
    status, _, errors = command(cloud)
    assert status == 1
    assert "metrics-of-commands" in errors
