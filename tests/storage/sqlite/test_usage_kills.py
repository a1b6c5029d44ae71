"""Processes that are killed while they write: the roll-ups of usage are what is stored."""

import json


def test_usage_is_exact_whatever_is_killed(run_program):
    done = json.loads(run_program("with_django.usage_writers", "triggers"))
    assert done["counted"] == done["stored"]
    assert sum(hot and cold for _, _, hot, cold in done["stored"].values()) > 0


def test_what_is_counted_after_the_commit_is_not(run_program):
    # The control: shows that the test above would see it.
    done = json.loads(run_program("with_django.usage_writers", "afterwards"))
    assert done["counted"]["a"][0] < done["stored"]["a"][0]
