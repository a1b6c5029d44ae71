"""Random sequences on a table whose shards are raised meanwhile, as two processes learn later."""

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from storage.dynamodb import shards
from tests.contract.sequences import StorageMachine

PROCESSES = st.integers(0, 1)
NUMBERS = st.sampled_from([8, 16, 64])
SECONDS = st.sampled_from([shards.REMEMBERED_SECONDS / 2, shards.WAIT_SECONDS])


class Never:
    """In the place of an executor. What a process learns behind its writes it may learn later."""

    def submit(self, job):
        """Drop the job."""


def raising_machine(other, clock, wait=shards.WAIT_SECONDS):
    """A machine whose last storage is used in turns by two processes. `other` is the second.

    `clock` is the one of `storage.dynamodb.shards`. The steps of a raise are `wait` seconds apart.
    """

    class RaisingMachine(StorageMachine):
        def __init__(self, *storages):
            super().__init__(*storages)
            self.processes = [storages[-1], other]
            self.client = other.database.client
            self.begun = None

        @initialize()
        def start_empty(self):
            for process in self.processes:
                process.database.shards = shards.Shards(self.client, Never())
            super().start_empty()
            self.client.call("DeleteItem", Key=shards.KEY)
            for process in self.processes:
                process.database.shards = shards.Shards(self.client, Never())

        @rule(number=PROCESSES)
        def switch(self, number):
            self.sides[-1].storage = self.processes[number]

        @rule(seconds=SECONDS)
        def time_passes(self, seconds):
            clock.passes(seconds)

        @rule(number=PROCESSES)
        def learn(self, number):
            self.processes[number].database.shards.refresh()

        @precondition(lambda self: self.begun is None)
        @rule(number=NUMBERS)
        def begin_raise(self, number):
            shards.begin_raise(self.client, number)
            self.begun = clock.monotonic(), number

        @precondition(lambda self: self.begun and clock.monotonic() - self.begun[0] >= wait)
        @rule()
        def end_raise(self):
            shards.end_raise(self.client, self.begun[1])
            self.begun = None

        def teardown(self):
            for process in self.processes:
                self.sides[-1].storage = process
                super().teardown()

    return RaisingMachine


def only_raising(machine):
    """A machine that does little else, so that what a raise breaks is found in few sequences."""
    rest = ("create_once", "create_many", "update", "delete", "get", "newest", "every_page")
    rest += ("first_page", "later_page", "search", "answer", "cache_set", "cache_get")
    rest += ("continuations", "time_passes")
    return type("OnlyRaising", (machine,), dict.fromkeys(rest))
