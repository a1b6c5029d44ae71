"""An environment of a server is made once, however many ask for it, and again if that failed."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import environments


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The environments that were made, of which none is real."""
    found = []
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(environments, "_make", lambda folder, requirements: found.append(folder))
    (tmp_path / "some.txt").write_text("some==1")
    return found


def test_those_that_ask_at_once_wait_for_one(made, monkeypatch):
    both_ask, make = threading.Barrier(2), environments._make

    def make_slowly(*arguments):
        time.sleep(0.2)  # so long the other one would find none
        make(*arguments)

    def ask(name):
        both_ask.wait()
        return environments.python(name)

    monkeypatch.setattr(environments, "_make", make_slowly)
    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(ask, ["some"] * 2))) == 1
    assert len(made) == 1


def test_one_that_was_not_completed_is_made_again(made, monkeypatch):
    def fail(folder, requirements):
        raise BlockingIOError

    with monkeypatch.context() as patched:
        patched.setattr(environments, "_make", fail)
        with pytest.raises(BlockingIOError):
            environments.python("some")
    environments.python("some")
    environments.python("some")
    assert len(made) == 1


def test_other_requirements_have_another_one(made, tmp_path):
    first = environments.python("some")
    (tmp_path / "some.txt").write_text("some==2")
    assert environments.python("some") != first
    assert len(made) == 2
