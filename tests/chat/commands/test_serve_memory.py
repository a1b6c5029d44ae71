"""What `manage.py serve` tells the C library of its memory.

That it comes to the server is seen in `test_serve.py`, by an `exec` of its own.
"""

import os

import pytest
from django.core.management import call_command

from chat.management.commands import serve


@pytest.mark.parametrize(("told", "used"), [({}, "2"), ({"MALLOC_ARENA_MAX": "4"}, "4")])
def test_workers_share_few_heaps_unless_they_are_told_otherwise(
    tmp_path, settings, monkeypatch, told, used
):
    """Each heap of glibc keeps what it once needed, and with 16 that looks like a leak."""
    settings.DATA_DIR = tmp_path
    given = []
    monkeypatch.setattr(serve.listening, "hold", lambda host, port: None)
    monkeypatch.setattr(serve.Command, "_prepared", lambda self: None)
    monkeypatch.setattr(serve.readiness, "startup_problem", lambda: None)
    monkeypatch.setattr(serve, "_arguments", list)
    monkeypatch.setattr(serve.signal, "pthread_sigmask", lambda how, signals: None)
    monkeypatch.setattr(os, "environ", dict(told))
    monkeypatch.setattr(os, "execv", lambda *_: given.append(os.environ["MALLOC_ARENA_MAX"]))
    call_command("serve")
    assert given == [used]
