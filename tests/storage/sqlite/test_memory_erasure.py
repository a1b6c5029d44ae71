"""A user who is erased by one process goes from the memory of the others, strings included."""

import json
import sqlite3

import pytest

KEY = f"chat:ada:{'0' * 64}"
OTHER_KEY = f"chat:bob:{'0' * 64}"


@pytest.fixture
def processes(start_program):
    """Two processes with one database: each is a function that tells it what to do."""

    def start(*arguments):
        process = start_program("with_django.servant", *arguments)
        assert process.stdout.readline() == "ready\n", process.stderr.read()

        def do(*what):
            process.stdin.write(json.dumps(what) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, process.stderr.read()
            return json.loads(answer)

        return do

    return start("create"), start()


@pytest.fixture
def eraser(processes):
    return processes[0]


@pytest.fixture
def server(processes):
    """Has a string and an interaction of ada's in its memory."""
    do = processes[1]
    do("save", "i", "ada's message")
    assert do("read", "i") == do("read", "i") == "ada's message"
    do("set", KEY, "ada's string")
    do("set", OTHER_KEY, "bob's string")
    assert do("remembers", "ada's message")
    assert do("remembers", "ada's string")
    return do


def test_nothing_is_left_once_it_answers_again(eraser, server):
    eraser("remove", "i")
    eraser("forget", "ada")
    assert server("get", KEY) is None
    assert not server("remembers", "ada's")
    assert server("read", "i") is None


@pytest.mark.parametrize("first", [("read", "i"), ("get", OTHER_KEY), ("set", OTHER_KEY, "new")])
def test_whatever_it_is_asked_first(eraser, server, first):
    eraser("remove", "i")
    eraser("forget", "ada")
    server(*first)
    assert not server("remembers", "ada's")


def test_what_is_kept_after_it_stays(eraser, server):
    eraser("forget", "ada")
    server("set", OTHER_KEY, "bob's new string")
    assert server("get", OTHER_KEY) == "bob's new string"


def test_the_process_that_erases_forgets_as_well(server):
    server("remove", "i")
    server("forget", "ada")
    assert not server("remembers", "ada's")


def test_every_erasure_counts(eraser, server):
    for user_id in ("ada", "ada", "bob"):
        server("set", KEY, "ada's string again")
        assert server("get", KEY) == "ada's string again"
        eraser("forget", user_id)
        assert server("get", KEY) is None


def test_a_string_stays_while_others_write(eraser, server):
    eraser("save", "o", "written elsewhere")
    assert server("get", KEY) == "ada's string"


# Controls.


def test_without_the_count_both_would_stay_in_memory(eraser, server):
    eraser("remove", "i")
    assert server("read", "i") is None
    assert server("get", KEY) == "ada's string"
    assert server("remembers", "ada's message")  # though it is never given any more


def test_the_count_is_in_the_database(eraser, server, tmp_path):
    connection = sqlite3.connect(tmp_path / "program.sqlite3")
    (before,) = connection.execute("PRAGMA user_version").fetchone()
    eraser("forget", "ada")
    eraser("forget", "ada")
    assert connection.execute("PRAGMA user_version").fetchone() == (before + 2,)
    connection.close()
