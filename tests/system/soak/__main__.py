"""Load, faults and commands at random; then everything that was acknowledged is looked for.

    python -m tests.system.soak --minutes 20 --backend sqlite [--steady]

Clients write and read on real servers. Meanwhile servers and workers are killed and restarted,
stores stop answering, and every maintenance command runs, some of them killed on their way. Ends
with status 1 if an acknowledged write is lost, something deleted or erased is back, an answer is
wrong or out of date, a server answers 500, or anything prints a traceback.

With --steady nothing is killed or stopped. Every command runs once a minute, to its end. Then it is
also a fault if any answer is a 5xx, or if memory, descriptors or the log are not flat. A 5xx is
shown with what the server's log says of it, and descriptors by their kind.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.soak.clients import PAUSE_SECONDS, Client
from tests.system.soak.known import GONE, Known
from tests.system.soak.steady import Watch
from tests.system.soak.world import World

CLIENTS = 6
BETWEEN_FAULTS = (2.0, 10.0)
BETWEEN_COMMANDS = (0.0, 3.0)
ROUND_SECONDS = 60.0
"""From one round of all commands to the next in a steady soak, unless a round takes longer."""

STEADY_PAUSE = 0.3
"""Seconds between two calls of one client: 20 a second in all, which leaves time for commands."""


class Befalls(threading.Thread):
    """Does something at random again and again, until the soak ends."""

    def __init__(self, known: Known, acts: list, seed: int, stop: threading.Event, pauses: tuple):
        super().__init__(daemon=True)
        self._known, self._acts, self._stopped, self._pauses = known, acts, stop, pauses
        self._choose = random.Random(seed)

    def run(self) -> None:
        while not self._stopped.wait(self._choose.uniform(*self._pauses)):
            act = self._choose.choice(self._acts)
            try:
                said = act(self._choose)
            except Exception as error:
                self._known.fault("error in the soak", f"{act.__name__}: {error!r}")
            else:
                if said:
                    self._known.count(said)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--backend", choices=("sqlite", "cloud"), default="sqlite")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--steady", action="store_true", help="without faults; is it flat?")
    options = parser.parse_args()
    print(f"{options.minutes:g} minutes on {options.backend}, seed {options.seed}", flush=True)
    known = Known()
    load = _steady_load if options.steady else _everything_at_once
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        world = World(options.backend, Path(folder), known, kills=not options.steady)
        try:
            world.start()
            load(world, known, options.seed, options.minutes * 60)
            _look_for_everything(world, known, options.seed)
        finally:
            world.stop()
        for found in world.tracebacks():
            known.fault("traceback", found)
    return _report(known)


def _everything_at_once(world: World, known: Known, seed: int, seconds: float) -> None:
    stop = threading.Event()
    everyday = [world.everyday, world.everyday, world.bring_old_ones, world.erase_somebody]
    befalls = [
        Befalls(known, world.faults(), seed, stop, BETWEEN_FAULTS),
        Befalls(known, everyday, seed + 1, stop, BETWEEN_COMMANDS),
        Befalls(known, everyday, seed + 2, stop, BETWEEN_COMMANDS),
    ]
    _run(world, known, seed, seconds, stop, befalls)


def _steady_load(world: World, known: Known, seed: int, seconds: float) -> None:
    stop = threading.Event()
    watch = Watch(known, world.process_ids, world.database)
    watch.start()
    commands = Befalls(known, [_each_minute(world, stop)], seed, stop, (0, 0))
    _run(world, known, seed, seconds, stop, [commands], STEADY_PAUSE)
    watch.judge()


def _each_minute(world: World, stop: threading.Event) -> Callable[[random.Random], str]:
    def every_command(choose: random.Random) -> str:
        began = time.monotonic()
        world.every_command(choose)
        stop.wait(ROUND_SECONDS - (time.monotonic() - began))
        return "rounds of all commands"

    return every_command


def _run(
    world: World,
    known: Known,
    seed: int,
    seconds: float,
    stop: threading.Event,
    befalls: list[Befalls],
    pause: float = PAUSE_SECONDS,
) -> None:
    """Clients, and what befalls the servers, for so long."""
    clients = [Client(known, world, seed + n, stop, pause) for n in range(CLIENTS)]
    threads: list[threading.Thread] = [*clients, *befalls]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()


def _look_for_everything(world: World, known: Known, seed: int) -> None:
    """Once more after all is well again: every interaction, one by one."""
    reader = Client(known, world, seed, threading.Event())
    for row, changes in known.snapshot():
        answer = reader.read(row.interaction_id)
        began = time.monotonic()
        shown = answer.value["response"] if answer.status == 200 else GONE
        if answer.status not in (200, 404):
            known.fault("unreadable", f"{row.interaction_id}: {answer.status}")
        else:
            known.judge(row, changes, shown, began)
    known.count("looked for", len(known.rows))


def _report(known: Known) -> int:
    for what, number in sorted(known.counts.items()):
        print(f"{number:>9,}  {what}")
    kinds = sorted({fault.kind for fault in known.faults})
    for kind in kinds:
        print(f"{sum(fault.kind == kind for fault in known.faults):>9,}  FAULTS: {kind}")
    print("Nothing was lost, and nothing came back." if not kinds else "FAILED")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
