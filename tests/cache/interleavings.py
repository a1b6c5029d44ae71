"""Readers and writers of one interaction, taken apart into steps that a scheduler mixes.

Each runs the shipped InteractionCache in a thread of its own, which stops before every access
to a cell or to the database until the scheduler lets it take one step. So a run is one
interleaving, chosen at random, and can be repeated from its seed.
"""

import random
import threading
from datetime import UTC, datetime

from storage.cache import leases
from storage.cache.interactions import InteractionCache
from storage.cache.keys import interaction_key
from storage.exceptions import StorageUnavailable
from storage.models import ChatInteraction

KEY = interaction_key("i")
CREATED = datetime(2026, 3, 1, tzinfo=UTC)


class Turns:
    """Lets one thread at a time take one step."""

    def __init__(self):
        self._turn = threading.Condition()
        self._allowed = None
        self.waiting = set()
        self.running = set()

    def step(self):
        """Wait for this thread's turn."""
        name = threading.current_thread().name
        with self._turn:
            self.running.discard(name)
            self.waiting.add(name)
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._allowed == name)
            self._allowed = None
            self.waiting.discard(name)
            self.running.add(name)

    def end(self):
        """This thread takes no more steps."""
        with self._turn:
            self.running.discard(threading.current_thread().name)
            self._turn.notify_all()

    def let_one_go(self, choose):
        """Let one of those who wait take its step; False when nobody is left."""
        with self._turn:
            self._turn.wait_for(lambda: not self.running)
            if not self.waiting:
                return False
            name = choose(sorted(self.waiting))
            self.running.add(name)
            self._allowed = name
            self._turn.notify_all()
            self._turn.wait_for(lambda: not self.running)
            return True


class MemoryCells:
    """Cells in a dictionary, by the functions of `leases` alone."""

    def __init__(self):
        self.cell = None

    def get(self, key):
        return self.cell

    def lease(self, key, token):
        mine, self.cell = self.cell is None, leases.lease(self.cell, token)
        return mine

    def fill(self, key, token, value, seconds):
        self.cell = leases.fill(self.cell, token, value)

    def begin(self, key, token):
        self.cell = leases.begin(self.cell, token)

    def end(self, key, token, value, seconds):
        self.cell = leases.end(self.cell, token, value)

    def delete(self, key):
        self.cell = None


class DeleteOnWrite(MemoryCells):
    """The usual cache-aside, as a control: fill what was missed, delete what was written."""

    def lease(self, key, token):
        return self.cell is None

    def fill(self, key, token, value, seconds):
        self.cell = b"V" + value

    def begin(self, key, token):
        pass

    def end(self, key, token, value, seconds):
        self.cell = None


class SteppedCells:
    """What InteractionCache asks of cells, a step each; one operation may be lost or late."""

    def __init__(self, cells, turns, fault):
        self._cells, self._turns, self._fault = cells, turns, fault
        self.late = []
        self.missed = set()

    def _do(self, name, default, *arguments):
        self._turns.step()
        kind = self._fault.pop(name, None)
        if kind is None:
            return True, getattr(self._cells, name)(*arguments)
        if kind == "late":
            self.late.append((name, arguments))
        return False, default

    def get(self, key):
        answered, cell = self._do("get", None, key)
        if self.missed and answered:  # made up before anything cached is given, as shipped
            for missed in list(self.missed):
                self._cells.delete(missed)
            self.missed.clear()
            return leases.BUSY
        return cell if answered else leases.BUSY

    def lease(self, key, token):
        return self._do("lease", False, key, token)[1]

    def fill(self, *arguments):
        self._do("fill", None, *arguments)

    def begin(self, key, token):
        return self._do("begin", None, key, token)[0]

    def end(self, key, *arguments):
        if not self._do("end", None, key, *arguments)[0]:
            self.missed.add(key)

    def drop(self, key):
        self._do("delete", None, key)


class Run:
    """One interleaving of some writers and readers, with at most one fault, and evictions."""

    def __init__(self, seed, cells, writers=2, readers=3):
        self.chance = random.Random(seed)
        self.cells = cells
        self.turns = Turns()
        self.stored = 0
        self.acknowledged = 0
        self.stale = self.reads = self.hits = 0
        self.errors = []
        self.crashes = self.chance.random() < 0.15
        fault = {}
        if not self.crashes and self.chance.random() < 0.5:
            fault[self.chance.choice(["lease", "fill", "begin", "end"])] = self.chance.choice(
                ["lost", "late"]
            )
        self.stepped = SteppedCells(cells, self.turns, fault)
        self.cache = InteractionCache(self.stepped, 300)
        self.tasks = [self.write] * writers + [self.read] * readers

    def interaction(self):
        return ChatInteraction(
            interaction_id="i", user_id="ada", message=str(self.stored), created_at=CREATED
        )

    def from_database(self, interaction_id):
        self.turns.step()
        return self.interaction()

    def write(self):
        for _ in range(1 + (self.chance.random() < 0.5)):
            with self.cache.writing("i") as writing:
                self.turns.step()
                self.stored += 1
                mine = self.stored
                writing.committed(self.interaction())
                if self.crashes:
                    # It dies here: the commit stands, nothing more is done, nobody is told.
                    self.crashes = False
                    raise StorageUnavailable
            self.acknowledged = max(self.acknowledged, mine)

    def read(self):
        for _ in range(8):
            floor = self.acknowledged
            asked = []

            def read(interaction_id, asked=asked):
                asked.append(interaction_id)
                return self.from_database(interaction_id)

            found = self.cache.get("i", read)
            self.reads += 1
            self.hits += not asked
            self.stale += int(found.interaction.message) < floor

    def go(self):
        threads = [
            threading.Thread(target=self.task, args=(task,), name=f"{number}", daemon=True)
            for number, task in enumerate(self.tasks)
        ]
        self.turns.running = {thread.name for thread in threads}
        for thread in threads:
            thread.start()
        while self.turns.let_one_go(self.chance.choice):
            if self.chance.random() < 0.05:
                self.cells.delete(KEY)  # an eviction
            if self.stepped.late and self.chance.random() < 0.3:
                name, arguments = self.stepped.late.pop()
                getattr(self.cells, name)(*arguments)
        for thread in threads:
            thread.join()
        assert self.errors == []
        return self

    def task(self, task):
        self.turns.step()
        try:
            task()
        except StorageUnavailable:
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            self.turns.end()
