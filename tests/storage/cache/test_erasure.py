"""Erasing a user from Redis: nothing is left, nothing comes back."""

import threading

import pytest

from chat.maintenance.runs import OutOfTime
from storage.cache import erasure
from storage.cache.keys import interaction_key, string_key
from storage.cache.leased import LeasedCache
from storage.cache.leases import BUSY
from storage.cache.redis_cells import RedisCells
from storage.exceptions import CacheNotErased
from tests.storage.cache.conftest import MARKER, traces

ODD_USERS = [
    "a*",
    "a?c",
    "[ab]",
    "a\\",
    "a\\*",
    "a^b-c",
    "a:b",
    "*",
    "é😀",
    '"',
    "\u2028",
    "x" * 255,
]


def erase(cloud, rows, user_id="ada"):
    cloud.erase_hot(rows, user_id)
    return cloud.forget_user(user_id)


# Nothing is left.


def test_nothing_is_left(cloud, raw, save):
    rows = [save(f"i{number}", message=f"{MARKER} {number}") for number in range(3)]
    others = save("o", user_id="bob", message="bob's")
    cloud.cache_set_sync(f"chat:ada:{'0' * 64}", MARKER, 60)
    cloud.cache_set_sync(f"chat:bob:{'0' * 64}", "bob's string", 60)
    assert len(traces(raw, MARKER)) == 4
    assert len(traces(raw, "chat:ada:")) == 4
    found = erase(cloud, rows)
    assert found["cached"] >= 1
    assert traces(raw, MARKER) == traces(raw, "chat:ada:") == traces(raw, '"ada"') == []
    assert cloud.cache_get_sync(f"chat:ada:{'0' * 64}") is None
    assert cloud.cache_get_sync(f"chat:bob:{'0' * 64}") == "bob's string"
    assert raw.get(interaction_key(others.interaction_id)).startswith(b"V")
    assert cloud.forget_user("ada")["cached"] == 0


@pytest.mark.parametrize("user_id", ODD_USERS)
def test_users_whose_ids_look_alike_keep_theirs(cloud, raw, user_id):
    others = {"a", "ab", "abc", "a:b:c", "b", "ada", f"{user_id}x", f"x{user_id}", *ODD_USERS}
    others -= {user_id}
    for each in (user_id, *others):
        cloud.cache_set_sync(f"chat:{each}:{'0' * 64}", each, 60)
    assert cloud.forget_user(user_id)["cached"] == 1
    for each in others:
        assert cloud.cache_get_sync(f"chat:{each}:{'0' * 64}") == each
    assert cloud.cache_get_sync(f"chat:{user_id}:{'0' * 64}") is None


def test_what_a_process_could_not_say_it_had_deleted_goes(cloud, raw, save, make_interaction):
    # No row tells the id any more, and the key of an id names no user.
    save("i")
    cloud.database.client.call("DeleteItem", Key={"interaction_id": {"S": "i"}})
    mentions = save("o", user_id="bob", message='said: "user_id":"ada"')
    assert cloud.get_interaction_sync("i") is not None
    erase(cloud, [])
    assert traces(raw, MARKER) == []
    assert cloud.get_interaction_sync("i") is None
    assert raw.get(interaction_key(mentions.interaction_id)).startswith(b"V")


def test_more_than_one_round_trip_takes(cloud, raw, monkeypatch):
    monkeypatch.setattr(erasure, "AT_ONCE", 7)
    monkeypatch.setattr(erasure, "SEARCHED_AT_ONCE", 7)
    monkeypatch.setattr(erasure, "PER_SCAN", 3)
    for number in range(50):
        cloud.cache_set_sync(f"chat:ada:{number:064x}", MARKER, 60)
        raw.set(interaction_key(f"i{number}"), b'V{"user_id":"ada","message":"' + MARKER.encode())
    assert cloud.forget_user("ada")["cached"] == 100
    assert traces(raw, MARKER) == []


def test_what_is_no_string_goes_too(cloud, raw):
    raw.rpush("chat:ada:list", MARKER)
    raw.rpush("chat::list", "not ours, and nobody's")
    assert cloud.forget_user("ada")["cached"] == 1
    assert raw.type("chat:ada:list") == b"none"
    assert raw.delete("chat::list") == 1


# Nothing comes back.


@pytest.fixture
def slow_reader(cloud, raw, save, monkeypatch):
    """A reader of `i` who has read the row and has not filled yet. Gives the row, and `go_on`."""
    row = save("i")
    raw.delete(interaction_key("i"))
    has_read, may_fill = threading.Event(), threading.Event()
    read = cloud.database.read

    def read_and_wait(interaction_id):
        found = read(interaction_id)
        monkeypatch.setattr(cloud.database, "read", read)
        has_read.set()
        assert may_fill.wait(300)
        return found

    monkeypatch.setattr(cloud.database, "read", read_and_wait)
    thread = threading.Thread(target=cloud.get_interaction_sync, args=("i",))
    thread.start()
    assert has_read.wait(300)

    def go_on():
        may_fill.set()
        thread.join(20)

    yield row, go_on
    go_on()


def test_a_reader_from_before_fills_nothing(cloud, raw, slow_reader):
    row, go_on = slow_reader
    cloud.erase_hot([row], "ada")
    go_on()
    assert cloud.get_interaction_sync("i") is None
    assert not (raw.get(interaction_key("i")) or b"").startswith(b"V")


def test_without_the_marks_it_would(cloud, raw, slow_reader, monkeypatch):
    # The control.
    monkeypatch.setattr(LeasedCache, "_confirm", lambda cache, marked: None)
    row, go_on = slow_reader
    cloud.erase_hot([row], "ada")
    go_on()
    assert raw.get(interaction_key("i")).startswith(b"V")


def test_a_reader_of_what_was_deleted_before_fills_nothing(cloud, raw, slow_reader):
    _, go_on = slow_reader
    cloud.database.client.call("DeleteItem", Key={"interaction_id": {"S": "i"}})
    cloud.forget_user("ada")
    go_on()
    assert not (raw.get(interaction_key("i")) or b"").startswith(b"V")


def test_a_writer_from_before_puts_nothing(cloud, raw):
    cells = RedisCells(cloud.cache.server)
    token = cells.begin(interaction_key("i"), b"writer", [])
    cloud.forget_user("ada")
    cells.end(interaction_key("i"), token, b"{}", 60, [])
    assert raw.get(interaction_key("i")) == BUSY


def test_what_moves_between_tiers_is_not_filled_either(cloud, raw, slow_reader):
    _, go_on = slow_reader
    with cloud.cache.moving(["i"]):
        go_on()
        assert raw.get(interaction_key("i")) == BUSY
        raw.set(interaction_key("i"), b"V{}")
    assert raw.get(interaction_key("i")) == BUSY


def test_many_may_move_at_once(cloud, raw):
    with cloud.cache.moving([f"i{number}" for number in range(1201)]):
        assert raw.get(interaction_key("i0")) == raw.get(interaction_key("i1200")) == BUSY


# It ends.


def test_somebody_who_goes_on_is_not_reported_erased(cloud, monkeypatch):
    monkeypatch.setattr(erasure, "_run", lambda client, script, keys: 1)
    cloud.cache_set_sync(f"chat:ada:{'0' * 64}", "v", 60)
    with pytest.raises(CacheNotErased):
        cloud.forget_user("ada")


def test_a_search_ends_in_time_and_the_next_one_finds_what_is_left(cloud, raw, save, monkeypatch):
    monkeypatch.setattr(erasure, "SEARCHED_AT_ONCE", 2)
    for number in range(6):
        save(f"i{number}", message=MARKER)

    def once_some_are_gone():
        if len(traces(raw, MARKER)) < 6:
            raise OutOfTime

    with pytest.raises(OutOfTime):
        cloud.forget_user("ada", once_some_are_gone)
    assert traces(raw, MARKER) != []
    cloud.forget_user("ada")
    assert traces(raw, MARKER) == []


def test_readers_who_find_nothing_do_not_keep_it_from_ending(cloud, raw):
    cells = RedisCells(cloud.cache.server)
    cells.lease(f"chat:ada:{'1' * 64}", b"reader")
    cells.mark([f"chat:ada:{'2' * 64}"])
    assert cloud.forget_user("ada")["cached"] == 0
    assert traces(raw, "ada") == []


def test_an_error_while_deleting_leaves_the_keys_marked(cloud, raw, save, monkeypatch):
    row = save("i")

    def fail(rows, user_id):
        raw.set(interaction_key("i"), b"Vagain")
        raise ZeroDivisionError

    monkeypatch.setattr(cloud.database, "remove_of_user", fail)
    with pytest.raises(ZeroDivisionError):
        cloud.erase_hot([row], "ada")
    assert raw.get(interaction_key("i")) == BUSY


def test_strings_keep_their_place_under_their_user():
    assert string_key(f"chat:ada:{'0' * 64}").startswith("chat:ada:")
    assert string_key("other").startswith("chat::")
