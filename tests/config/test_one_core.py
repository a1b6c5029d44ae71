"""Threads of a worker that keep to one core; see `config.one_core`."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config import one_core
from config.one_core import LOOKS, Cores
from tests.chat.processes import Server
from tests.servers import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux lets a thread be placed")

NOBODY, OTHERS, BOTH = (0.9, 0.1), (0.0, 0.9), (0.4, 0.5)
"""What this process and others use of a core, in seconds of one second."""


class Machine:
    """Core 1 is used twice as much as core 0. Only sleeping moves the clock."""

    def __init__(self, *seconds: tuple[float, float]) -> None:
        self._coming = iter(seconds)
        self.now = self.own = self.used = 0.0
        self.slept = 0

    def sleep(self, seconds: float) -> None:
        own, others = next(self._coming)
        self.now += seconds
        self.own += own * seconds
        self.used += (own + others) * seconds
        self.slept += 1

    def in_use(self) -> dict[int, float]:
        return {0: self.used, 1: 2 * self.used}


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, set[int]]]:
    """What threads were placed on, in the order in which that happened."""
    found: list[tuple[int, set[int]]] = []
    monkeypatch.setattr(
        os, "sched_setaffinity", lambda thread, cores: found.append((thread, set(cores)))
    )
    return found


@pytest.fixture
def in_the_background() -> Iterator[threading.Thread]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield thread
    end.set()
    thread.join()


def on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_core.time, "sleep", machine.sleep)
    monkeypatch.setattr(one_core.time, "monotonic", lambda: machine.now)
    monkeypatch.setattr(one_core, "of_requests", lambda: machine.own)
    monkeypatch.setattr(one_core, "in_use", machine.in_use)
    monkeypatch.setattr(one_core, "of_other_workers", list)


def test_it_stays_until_others_have_wanted_the_core_for_a_while(placed, monkeypatch) -> None:
    machine = Machine(NOBODY, OTHERS, *[BOTH] * (LOOKS - 1), NOBODY, *[BOTH] * LOOKS)
    on(machine, monkeypatch)
    Cores({0, 1}).stay_on(0)
    assert machine.slept == 2 + LOOKS - 1 + 1 + LOOKS
    thread = threading.main_thread().native_id
    assert [cores for each, cores in placed if each == thread] == [{0}, {0, 1}]


def test_after_a_while_it_tries_again_the_core_that_is_used_least(placed, monkeypatch) -> None:
    on(Machine(OTHERS, *[BOTH] * LOOKS, OTHERS, OTHERS, NOBODY), monkeypatch)
    with pytest.raises(StopIteration):  # the end of time
        Cores({0, 1}).take_turns()
    thread = threading.main_thread().native_id
    assert [cores for each, cores in placed if each == thread] == [
        {0},
        {0, 1},
        {0},
        {0, 1},
    ]


def test_threads_in_the_background_keep_all_cores(placed, in_the_background, monkeypatch) -> None:
    on(Machine(*[BOTH] * LOOKS), monkeypatch)
    Cores({0, 1}).stay_on(0)
    thread = in_the_background.native_id
    assert [cores for each, cores in placed if each == thread] == [{0, 1}, {0, 1}]


def test_the_kernel_counts_what_cores_and_threads_have_worked(in_the_background) -> None:
    assert set(one_core.in_use()) >= os.sched_getaffinity(0)
    assert all(seconds >= 0 for seconds in one_core.in_use().values())
    assert one_core.of_requests() > 0
    assert one_core.seconds_of(in_the_background.native_id) >= 0
    assert one_core.seconds_of(0) == 0  # no thread has this number


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core only")
def test_each_worker_of_a_server_keeps_to_a_core_of_its_own(tmp_path) -> None:
    with serving(tmp_path, workers=2) as server:
        wait_for(lambda: len(set(cores_of_workers(server))) == 2, "a core for each worker")


def test_more_workers_than_cores_use_all_cores(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail(self.name))
    one_core.keep(len(os.sched_getaffinity(0)) + 1)


@contextmanager
def serving(folder: Path, workers: int) -> Iterator[Server]:
    server = Server(folder, WORKERS=str(workers))
    try:
        yield server.wait_until_it_answers()
    finally:
        server.stop()


def cores_of_workers(server: Server) -> list[int]:
    """The cores of those workers whose main thread keeps to one."""
    main_process = server.process_id
    children = Path(f"/proc/{main_process}/task/{main_process}/children").read_text()
    found = [os.sched_getaffinity(int(child)) for child in children.split()]
    return [core for cores in found if len(cores) == 1 for core in cores]
