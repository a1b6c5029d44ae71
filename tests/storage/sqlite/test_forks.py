"""A process that forks while it is connected: a child must not touch its parent's connections."""

import json

CHILDS = [f"child-{n}" for n in range(1, 6)]


def test_parent_and_child_both_read_and_write(run_program):
    found = json.loads(run_program("with_django.forks", "go-on"))
    assert found["child"] == 0
    assert found["ids"] == [*CHILDS, "parent-1", "parent-2"]
    assert found["intact"] == "ok"


def test_a_child_forked_in_the_middle_of_a_transaction_is_refused(run_program):
    # The parent's connection cannot be closed then, and the child would inherit the memory of
    # locks that it does not hold. The parent goes on undisturbed.
    found = json.loads(run_program("with_django.forks", "transaction"))
    assert found["child"] == 0  # it was refused, with the remedy
    assert found["message"] == "changed by the parent"  # which was committed after the child ended
    assert found["intact"] == "ok"


def test_a_child_forked_while_another_thread_uses_the_database_is_refused(run_program):
    found = json.loads(run_program("with_django.forks", "thread"))
    assert found["child"] == 0  # it was refused, with the remedy
    assert found["intact"] == "ok"


def test_what_a_child_has_committed_stays_when_its_parent_disconnects(run_program):
    # SQLite in the child believes that it holds the locks it has inherited, which the system
    # does not give to a child. So the parent is "the last to disconnect" and deletes the log
    # that the child goes on to write.
    found = json.loads(run_program("with_django.forks", "leave"))
    assert found["child"] == 0
    assert found["ids"] == [*CHILDS, "parent-1"]
    assert found["intact"] == "ok"
