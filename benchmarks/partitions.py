"""What DynamoDB's limits for a partition let through: a simulation, on no server.

    python benchmarks/partitions.py [--seconds 1200] [--seed 1] [--json FILE]

A save writes an entry to the index of everyone's interactions, in one of its shards, and one to the
index of users. Both sort by time, so all writes under a hash key go to the end of its range: when
DynamoDB splits it there, one of the halves gets nothing. A hash key is thus worth one partition:
1,000 write units a second, and up to 300 seconds' worth of what was not used before.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/burst-adaptive-capacity.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html

Indexes are written after the table. While one is behind by QUEUE seconds of its partition, saves
that need it are throttled, as those of any other table whose index is too slow. AWS does not say
how long the queue is; the figures in the table below hardly depend on it.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html

The row itself and its answer are under hashes of ids and messages. DynamoDB splits these by heat,
so they are not simulated: they take what the table may.
"""

import argparse
import math
import random
from pathlib import Path
from typing import NamedTuple

from harness.ratios import Ratios, ratio, save, table

WRITES = 1000.0
"""Write units a second of a partition."""

BURST = 300.0
"""Seconds' worth of unused units that a partition keeps."""

QUEUE = 5.0

SHARDS = (4, 8, 16, 32, 64)
SUSTAINED = 0.999
"""A rate is sustained if this share of the saves is taken in the last minute."""

PEAK = 3.0
"""The busiest minute of a day beside its mean."""

USERS = (1_000, 100_000, 10_000_000)
EXPONENTS = (0.6, 0.8, 1.0)
"""Of Zipf's law, by which the n-th busiest user has a share of 1 / n ** exponent."""


class Partition:
    """What a partition of an index has to spend, and what waits for it."""

    def __init__(self, unused: float = 0.0) -> None:
        self.unused = unused * WRITES
        self.waiting = 0.0

    def room(self) -> float:
        """How many more entries may come in this second."""
        return max(WRITES + self.unused + QUEUE * WRITES - self.waiting, 0.0)

    def passes(self, arrived: float) -> None:
        """A second in which so many entries came."""
        self.waiting += arrived
        written = min(self.waiting, WRITES + self.unused)
        self.waiting -= written
        self.unused = min(self.unused + WRITES - written, BURST * WRITES)


class Result(NamedTuple):
    """What became of the saves of the last minute, and the longest wait for the index."""

    taken: float
    lag: float
    throttled_seconds: int


def simulate(
    rates: list[float], shards: list[int], dice: random.Random, *, rested: bool = False
) -> Result:
    """Saves at a rate in each second, over as many shards as there are in it.

    `rested`: the partitions have had nothing to do for five minutes.
    """
    partitions = [Partition(BURST if rested else 0.0) for _ in range(max(shards))]
    lag, throttled_seconds, last = 0.0, 0, []
    for rate, count in zip(rates, shards, strict=True):
        arrived = taken = 0.0
        for number, partition in enumerate(partitions):
            mean = rate / count if number < count else 0.0
            wanted = max(dice.gauss(mean, mean**0.5), 0.0)  # as good as Poisson's
            accepted = min(wanted, partition.room())
            partition.passes(accepted)
            arrived += wanted
            taken += accepted
            lag = max(lag, partition.waiting / WRITES)
        throttled_seconds += taken < arrived
        last.append((taken, arrived))
    minute = last[-60:]
    share = sum(taken for taken, _ in minute) / sum(arrived for _, arrived in minute)
    return Result(share, lag, throttled_seconds)


def sustained(shards: int, seconds: int, seed: int) -> float:
    """The saves a second that so many shards take for good, to a half per cent."""
    low, high = 0.5 * WRITES * shards, 1.5 * WRITES * shards
    while high - low > 0.005 * low:
        rate = (low + high) / 2
        dice = random.Random(seed)
        found = simulate([rate] * seconds, [shards] * seconds, dice)
        low, high = (rate, high) if found.taken >= SUSTAINED else (low, rate)
    return low


def main() -> None:
    """Simulate and print four tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=1200, help="of a simulation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args()
    seconds, seed = arguments.seconds, arguments.seed
    ratios = by_shards(seconds, seed)
    peaks(seconds, seed)
    a_raise(seconds, seed)
    busiest_users()
    save(ratios, arguments.json)


def by_shards(seconds: int, seed: int) -> Ratios:
    """What shards take. The ratio is to as many times 1,000."""
    rates = {shards: sustained(shards, seconds, seed) for shards in SHARDS}
    rows = [
        (shards, f"{rate:,.0f}", f"{rate * 86_400 / PEAK / 1e6:,.0f}", f"{shards / 2 + 52:.0f}")
        for shards, rate in rates.items()
    ]
    columns = ["saves a second", f"million a day, peak {PEAK:.0f} x mean", "units, page of 50"]
    print(table("shards", columns, rows))
    return {
        f"partitions/{shards} shards": ratio([(rate, shards * WRITES)])
        for shards, rate in rates.items()
    }


def peaks(seconds: int, seed: int) -> None:
    """How long four rested shards take more than they can for good."""
    rows = []
    for factor in (1.25, 1.5, 2.0, 3.0):
        dice = random.Random(seed)
        found = simulate([factor * 4 * WRITES] * seconds, [4] * seconds, dice, rested=True)
        rows.append(
            (
                f"{factor * 4 * WRITES:,.0f}",
                f"{seconds - found.throttled_seconds} s",
                f"{1 - found.taken:.0%}",
            )
        )
    columns = ["until the first is throttled", "throttled in the end"]
    print("\n" + table("saves a second on 4 rested shards", columns, rows))


def a_raise(seconds: int, seed: int) -> None:
    """6,000 saves a second on 4 shards, raised to 8 in the middle."""
    half = seconds // 2
    rows = []
    for name, counts in {
        "4 shards": [4] * seconds,
        "4, then 8": [4] * half + [8] * (seconds - half),
    }.items():
        dice = random.Random(seed)
        found = simulate([6000.0] * seconds, counts, dice)
        rows.append((name, f"{found.throttled_seconds} s", f"{1 - found.taken:.0%}"))
    columns = [f"throttled, of {seconds} s", "throttled in the last minute"]
    print("\n" + table("6,000 saves a second", columns, rows))


def busiest_users() -> None:
    """At how many saves a second of all users the busiest one fills a partition."""
    rows = []
    for users in USERS:
        limits = [WRITES * harmonic(users, exponent) for exponent in EXPONENTS]
        rows.append((f"{users:,}", *(f"{limit:,.0f}" for limit in limits)))
    columns = [f"exponent {exponent}" for exponent in EXPONENTS]
    print("\n" + table("users; saves a second until the busiest has 1,000", columns, rows))


def harmonic(count: int, exponent: float) -> float:
    """The sum of n ** -exponent: of some thousand terms, and of an integral for the others."""
    few = min(count, 10_000)
    total = sum(number**-exponent for number in range(1, few + 1))
    if exponent == 1.0:
        return total + math.log(count / few)
    power = 1 - exponent
    return float(total + (count**power - few**power) / power)


if __name__ == "__main__":
    main()
