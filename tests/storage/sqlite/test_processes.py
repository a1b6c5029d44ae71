"""Sixteen processes that write one file at once: nobody is locked out, nothing is lost."""

import json

import pytest

from storage.sqlite import write_lock


def test_sixteen_processes_count_exactly_and_are_never_locked_out(run_program):
    done = json.loads(run_program("with_django.counters", "IMMEDIATE", "25"))
    assert done["processes"] == 16
    assert done["locked"] == 0
    assert done["committed"] == done["counter"] == 16 * 25


@pytest.mark.skipif(write_lock.NEEDED, reason="every transaction waits for a lock of our own")
def test_without_immediate_transactions_they_are_locked_out(run_program):
    # The control: shows that the test above would see it. A transaction that begins with a
    # read cannot wait for the lock once another process has written.
    done = json.loads(run_program("with_django.counters", "DEFERRED", "25"))
    assert done["locked"] > 0
    assert done["committed"] == done["counter"] < 16 * 25
