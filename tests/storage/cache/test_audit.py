"""`cache_audit`: it finds what is not so, and nothing else."""

import asyncio
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
import redis
from django.core.cache.backends.dummy import DummyCache
from django.core.management import CommandError, call_command
from prometheus_client.parser import text_string_to_metric_families

from storage.cache import audit, keys, sampling
from storage.exceptions import StorageUnavailable
from storage.records.json import from_json, to_json
from storage.startup import selection
from tests import clouds, servers
from tests.chat.processes import run
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
def command(monkeypatch, capsys):
    """Runs `cache_audit`; gives its exit status, output and errors."""

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


def test_a_sound_cache_has_no_difference(cloud, cached, command):
    cloud.cache_set_sync("chat:ada:own", "text", 60)
    status, output, errors = command(cloud)
    assert (status, errors) == (0, "")
    assert "0 differences." in output
    assert kinds(cloud.audit_cache_sync(None)) == {"interaction": 1, "answer": 1, "string": 1}


def test_leases_and_marks_are_counted(cloud, stored, raw):
    raw.set(ID_KEY, b"T0123456789abcdef")
    raw.set(ANSWER_KEY, b"X")
    raw.set(f"chat::{HASH}", b"B0123456789abcdef")
    found = cloud.audit_cache_sync(None)
    assert (kinds(found), found.differences, found.ages) == ({"lease": 1, "mark": 2}, [], [])


@pytest.mark.parametrize("arguments", [(), ("--all",), ("--sample", "5")], ids=str)
def test_a_value_that_was_changed_behind_its_back_is_named(cloud, cached, raw, command, arguments):
    raw.set(ID_KEY, changed(cached, response="forged text"), ex=60)
    status, output, errors = command(cloud, *arguments)
    assert status == 1
    assert errors == f"{ID_KEY} (interaction of i) differs.\n"
    assert "1 differences." in output
    assert "forged" not in output + errors


def test_what_is_deleted_or_expired_and_still_cached_is_a_difference(cloud, cached, raw, settings):
    value = raw.get(ID_KEY)
    settings.RETENTION_TOTAL_DAYS = 0.0
    assert [each.interaction_id for each in cloud.audit_cache_sync(None).differences] == ["i"]
    settings.RETENTION_TOTAL_DAYS = 1_000_000
    cloud.delete_interaction_sync("i")
    assert cloud.audit_cache_sync(None).differences == []
    raw.set(ID_KEY, value)
    assert [each.interaction_id for each in cloud.audit_cache_sync(None).differences] == ["i"]


def test_an_entry_of_another_user_is_a_difference(cloud, cached, raw, command):
    raw.set(ID_KEY, changed(cached, user_id="eve"))
    assert command(cloud)[0] == 1
    raw.set(ID_KEY, changed(cached, interaction_id="j"))  # what belongs under another key
    status, _, errors = command(cloud)
    assert (status, errors) == (1, f"{ID_KEY} (unfit) differs.\n")


def test_an_answer_that_is_none_any_more_is_outdated(cloud, cached, raw, make_interaction):
    cloud.create_interaction_sync(make_interaction(interaction_id="of-eve", user_id="eve"))
    cloud.create_interaction_sync(make_interaction(interaction_id="empty", response=""))
    for interaction_id in ("of-eve", "empty"):
        raw.delete(keys.interaction_key(interaction_id))
    for key in (*keys.answer_keys(cached), *keys.answer_keys(make_interaction(user_id="eve"))):
        raw.delete(key)
    for pointer in ('"of-eve"', '"empty"', '"unknown"'):
        raw.set(ANSWER_KEY, f"V{pointer}")
        found = cloud.audit_cache_sync(None)
        assert kinds(found) == {"interaction": 1, "outdated_answer": 1}
        assert found.differences == []


@pytest.mark.parametrize("model_used", [None, "model-1"])
def test_an_answer_that_is_not_the_newest_is_a_difference(
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


def test_an_answer_that_the_index_does_not_show_yet_is_no_difference(cloud, cached, monkeypatch):
    monkeypatch.setattr(type(cloud.database), "find", lambda self, question: None)
    assert cloud.audit_cache_sync(None).differences == []


POISON = {
    "a pickle": pickle.dumps([1]),
    "5 MB": b"x" * 5_000_000,
    "a value of 5 MB": b'V"' + b"x" * 5_000_000 + b'"',
    "deep JSON": b"V" + b"[" * 1_000_000,
    "a deep string": b"[" * 1_000_000,
    "nothing": b"",
    "no UTF-8": b"V\xff",
    "a number": b"V5",
    "an id of control characters": None,
}


@pytest.mark.parametrize("name", POISON)
@pytest.mark.parametrize("place", [ID_KEY, ANSWER_KEY])
def test_poison_is_counted(cloud, stored, raw, name, place):
    cell = POISON[name]
    if cell is None:
        cell, place = changed(stored, interaction_id="\n"), keys.interaction_key("\n")
    raw.set(place, cell)
    found = cloud.audit_cache_sync(None)
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


def test_what_is_no_string_is_unfit(cloud, raw):
    raw.rpush(ID_KEY, "a", "list")
    raw.hset(f"chat:ada:{HASH}", "a", "hash")
    assert kinds(cloud.audit_cache_sync(None)) == {"unfit": 2}


def test_users_are_not_shown(cloud, cached, raw, command, data_folder):
    raw.set(f"chat:ada:{HASH}", b"V5")
    _, output, errors = command(cloud)
    assert errors == f"chat:*:{HASH} (unfit) differs.\n"
    written = (data_folder / "metrics-of-commands" / "cache_audit.prom").read_text()
    assert "ada" not in output + errors + written


# While others write


@pytest.mark.parametrize("then", ["a mark", "gone", "the new value"])
def test_a_write_in_between_is_no_difference(cloud, cached, raw, monkeypatch, then):
    """The database has the new row, and the cell that was read before is the old one."""
    newer = from_json(changed(cached, response="newer")[1:])
    raw.set(ID_KEY, changed(cached, response="older"))
    looks, look = [], sampling.look

    def meddling(server, some):
        if looks:
            raw.delete(ID_KEY)
            if then == "a mark":
                raw.set(ID_KEY, b"B0123456789abcdef")
            elif then == "the new value":
                raw.set(ID_KEY, b"V" + to_json(newer))
        looks.append(len(some))
        return look(server, some)

    monkeypatch.setattr(audit, "look", meddling)
    assert cloud.audit_cache_sync(None).differences == []
    assert looks[-1] == 1


def test_a_row_that_is_as_cached_at_the_second_look_is_no_difference(cloud, cached, monkeypatch):
    read, reads = type(cloud.database).read, []

    def lagging(self, interaction_id):
        reads.append(interaction_id)
        return None if len(reads) == 1 else read(self, interaction_id)

    monkeypatch.setattr(type(cloud.database), "read", lagging)
    assert cloud.audit_cache_sync(None).differences == []
    assert len(reads) > 2


# What it costs


@pytest.fixture
def filled(cloud, raw):
    """5,000 leases, and 1,000 entries of another application."""
    for number in range(5_000):
        raw.set(keys.interaction_key(str(number)), b"T0123456789abcdef")
    for number in range(1_000):
        raw.set(f"other:{number}", "x")
    yield
    for number in range(1_000):
        raw.delete(f"other:{number}")


def nodes(raw):
    if isinstance(raw, redis.RedisCluster):
        return [raw.get_redis_connection(node) for node in raw.get_primaries()]
    return [raw]


def commands_of(raw):
    found = {}
    for node in nodes(raw):
        for name, figures in node.info("commandstats").items():
            name = name.removeprefix("cmdstat_")
            found[name] = found.get(name, 0) + figures["calls"]
    return found


def test_a_sample_costs_what_so_many_cost(cloud, raw, filled):
    for node in nodes(raw):
        node.config_resetstat()
    found = cloud.audit_cache_sync(300)
    used = commands_of(raw)
    assert 200 <= sum(found.entries.values()) <= 303
    assert 300 <= used["randomkey"] <= 303
    assert used["get"] == used["pttl"] <= 303
    assert not {"scan", "keys"} & used.keys()


def test_all_of_every_node_are_seen(cloud, raw, filled):
    found = cloud.audit_cache_sync(None)
    assert kinds(found) == {"lease": 5_000}
    assert kinds(cloud.audit_cache_sync(10_000)) == {"lease": 5_000}
    assert "keys" not in commands_of(raw)


def test_a_sample_has_its_share_of_every_node(cloud, raw, filled, monkeypatch):
    looks, look = {}, sampling.look

    def counting(server, some):
        port = server.connection_pool.connection_kwargs["port"]
        looks[port] = looks.get(port, 0) + len(some)
        return look(server, some)

    monkeypatch.setattr(audit, "look", counting)
    cloud.audit_cache_sync(600)
    assert len(looks) == len(nodes(raw))
    assert all(count > 400 / len(nodes(raw)) for count in looks.values())


# What it tells


def test_ages_are_of_values_and_in_seconds(cloud, cached, raw, settings, data_folder, command):
    raw.pexpire(ID_KEY, settings.CACHE_TTL * 1000 - 20_000)
    raw.pexpire(ANSWER_KEY, settings.CACHE_TTL * 1000 - 10_000)
    raw.set(f"chat::{HASH}", b"X", ex=1)
    raw.set(keys.interaction_key("j"), changed(cached, interaction_id="j"))  # has no end
    status, output, _ = command(cloud)
    assert status == 1
    assert "up to 20.0 s old, half of them up to 15.0 s" in output
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
    assert told["chat_cache_audit_oldest_seconds",] == pytest.approx(20, abs=1)
    assert told["chat_cache_audit_timestamp_seconds",] > 1.7e9


@pytest.mark.parametrize(
    "arguments",
    [("--sample", "0"), ("--sample", "-1"), ("--sample", "x"), ("--sample", "5", "--all")],
)
def test_wrong_use_is_status_2(tmp_path, arguments):
    assert run(tmp_path, "cache_audit", *arguments).returncode == 2


def test_in_development_there_is_nothing_to_look_at(tmp_path):
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


def test_without_redis_it_is_one_line_and_status_1(tmp_path, dynamodb_server):
    for scheme in ("redis", "redis+cluster"):
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


def test_a_full_disk_is_one_line(cloud, cached, command, data_folder):
    os.mkfifo(data_folder / "metrics-of-commands")
    status, _, errors = command(cloud)
    assert status == 1
    assert "metrics-of-commands" in errors


def test_the_coroutine_does_the_same(cloud, cached):
    assert kinds(asyncio.run(cloud.audit_cache(None))) == {"interaction": 1, "answer": 1}


def test_while_others_write_there_is_no_difference(cloud, make_interaction):
    """Not by what is made to happen here, but by chance, for a while."""
    end = time.monotonic() + 3

    def write(number):
        made = make_interaction(interaction_id=f"of-{number}")
        while time.monotonic() < end:
            cloud.save_interaction_sync(make_interaction(interaction_id=made.interaction_id))
            cloud.get_interaction_sync(made.interaction_id)
            cloud.find_answer_sync(QUESTION)
            cloud.update_interaction_sync(made.interaction_id, {"response": str(time.monotonic())})
            if number % 2:
                cloud.delete_interaction_sync(made.interaction_id)

    seen = 0
    with ThreadPoolExecutor(4) as executor:
        writers = [executor.submit(write, number) for number in range(4)]
        while time.monotonic() < end:
            found = cloud.audit_cache_sync(None)
            assert found.differences == []
            seen += found.entries["interaction"]
    assert seen > 10
    assert [writer.result() for writer in writers] == [None] * 4
