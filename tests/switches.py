"""The environment variables that turn the strongest tests up, with all their values.

`make test` runs with the usual ones, `make test-all` with those for all. `docs/how-to/test.md` has
the same table, for those who want one of them alone.
"""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Switch:
    """One environment variable: its value in `make test`, in `make test-all`, and its meaning."""

    name: str
    usual: str
    all: str
    meaning: str


SWITCHES = [
    Switch("CONTRACT_EXAMPLES", "12", "200", "random sequences of calls on each backend"),
    Switch("CONTRACT_STEPS", "25", "50", "calls in each of these sequences"),
    Switch("DYNAMODB_SERVER", "ministack", "ministack", "`moto` is the other emulator of DynamoDB"),
    Switch("SCHEMATHESIS_EXAMPLES", "2", "600", "requests from the schema to each operation"),
    Switch("ENTRANCE_EXAMPLES", "10", "300", "random sequences of requests, sent both ways"),
    Switch("LIFECYCLE_KILLS", "some", "all", "steps of maintenance at which a run is killed"),
    Switch("MAINTENANCE_BUCKET", "", "1", "every archive beside DynamoDB is in a bucket"),
    Switch("GROWTH_ROWS", "40000", "200000", "rows of the large store whose work is counted"),
    Switch("INTERLEAVINGS", "120", "20000", "random interleavings of each kind with the cache"),
    Switch("INTERLEAVINGS_FROM", "0", "0", "seed of the first, so that processes can share them"),
    Switch("CACHE_MODEL", "small", "full", "writers and readers in the cache's model"),
    Switch("BACKUP_EVERY_BIT", "", "1", "flips every bit of a backup, not a sample"),
    Switch("BACKUP_STRIDE", "24", "1", "steps from one interruption of a backup to the next"),
    Switch("BACKUP_ROUNDS", "2", "20", "snapshots while four processes write"),
    Switch("KILL_ROUNDS", "2", "10", "kills of a server in the middle of writes"),
    Switch("POWER_LOSS_POINTS", "2", "150", "calls of a program after which the power is lost"),
    Switch("POWER_LOSS_DISKS", "1", "2", "disks at each of them, besides the two extremes"),
    Switch("CACHE_OUTAGE_SECONDS", "20", "60", "how long Redis fails under a mixed load"),
]
_USUAL = {switch.name: switch.usual for switch in SWITCHES}


def value(name: str) -> str:
    """The variable's value, or the usual one."""
    return os.environ.get(name, _USUAL[name])


def number(name: str) -> int:
    """The same as a whole number."""
    return int(value(name))


def is_set(name: str) -> bool:
    """Whether the environment asks for another value than the usual one."""
    return value(name) != _USUAL[name]
