"""How many shards the index of everyone's interactions has, as an item of the table says.

Shards are numbered from 0, and the number of them only grows. So whoever reads the shards below
the number finds what every writer has written that knows this number or an earlier one. What
must not happen is the opposite: a row in a shard that somebody does not read yet. A raise therefore
has two steps, with a wait between them (Note [The two steps of a raise]).

An interaction keeps its shard until it is deleted or archived: it is an attribute of the item.
See docs/decisions/0049-number-of-shards.md.
"""

import threading
import time
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from storage.dynamodb.client import Client, ConditionFailed
from storage.dynamodb.items import FIRST_SHARDS, Item, key_of
from storage.exceptions import StorageError
from storage.records.json import format_time

KEY = key_of("\x1fshards-of-newest")
"""No interaction's id contains a control character."""

MOST = 64
"""A page of everyone's interactions costs a query for each shard. 64 take 64,000 saves a second,
more than the 40,000 write units that AWS allows a table unless asked for more.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
"""

REMEMBERED_SECONDS = 30.0
"""How old the number may be with which a list begins."""

WAIT_SECONDS = 2 * REMEMBERED_SECONDS
"""Between the two steps of a raise: twice as long as anyone remembers, since a process may stand
still between its look at the clock and its first query."""


class Counts(NamedTuple):
    """How many shards lists read, and over how many of them new interactions are spread.

    `since` is when the last raise ended; None for a table that never had one.
    """

    read: int = FIRST_SHARDS
    written: int = FIRST_SHARDS
    since: datetime | None = None

    @property
    def is_settled(self) -> bool:
        """Whether no raise is under way."""
        return self.read == self.written

    def __str__(self) -> str:
        since = f", since {format_time(self.since)}" if self.since else ""
        if self.is_settled:
            return f"{self.read}{since}"
        return f"{self.written} written and {self.read} read: a raise is under way"


class Shards:
    """The counts as a process remembers them. Threads share one."""

    def __init__(self, client: Client, executor: Executor) -> None:
        self._client = client
        self._executor = executor
        self._known = Counts()
        self._update = threading.Lock()
        self._known_since = self._asked_at = float("-inf")

    def to_read(self) -> int:
        """How many shards a list must read that begins now. Asks if it was not known lately."""
        if self._is_old():
            self.refresh()
        return self._known.read

    def to_write(self) -> int:
        """Over how many shards to spread new interactions. Never waits: any number will do."""
        now = time.monotonic()
        if self._is_old() and now - self._asked_at > REMEMBERED_SECONDS:
            self._asked_at = now
            self._executor.submit(self._try_to_refresh)
        return self._known.written

    def refresh(self) -> None:
        """Read the counts. Raises StorageUnavailable, and then what was known stays known."""
        begun = time.monotonic()
        found = read(self._client)
        with self._update:
            # They only grow, so an answer that comes late takes nothing back.
            self._known = Counts(
                max(self._known.read, found.read), max(self._known.written, found.written)
            )
            self._known_since = max(self._known_since, begun)

    def _try_to_refresh(self) -> None:
        if self._is_old():
            with suppress(StorageError):  # it is tried again
                self.refresh()

    def _is_old(self) -> bool:
        return time.monotonic() - self._known_since > REMEMBERED_SECONDS


def read(client: Client) -> Counts:
    """Returns the counts as they are now."""
    answer = client.call("GetItem", Key=KEY, ConsistentRead=True)
    return _counts(answer.get("Item", {}))


# Note [The two steps of a raise]
# First lists read more shards; then, once nobody can remember the earlier number, the new ones are
# written. Only durations count, so it does not matter what the clocks of the machines say. If the
# command is killed in between, lists read some shards that are empty, until it is run again; then
# it waits again, since nobody knows for how long it has been so. Conditions keep both numbers from
# ever falling, whoever else raises at the same time.


def begin_raise(client: Client, number: int) -> None:
    """Let lists read so many shards. `problem` says what is to be refused."""
    _set(client, "#read = :number", "#read < :number", number)


def end_raise(client: Client, number: int) -> None:
    """Let new interactions go to so many shards, WAIT_SECONDS after `begin_raise`."""
    now = format_time(datetime.now(UTC))
    _set(client, "#written = :number, #since = :now", "#written < :number", number, now=now)


def problem(counts: Counts, number: int) -> str | None:
    """Returns why the number cannot be raised to this one, or None."""
    if not 1 <= number <= MOST:
        return f"The number of shards must be from 1 to {MOST}, not {number}."
    if number < counts.read:
        return (
            f"The table has {counts.read} shards, and the number cannot be lowered to {number}: "
            "interactions in the others would be in no list of everyone's."
        )
    return None


def _set(client: Client, changes: str, lower: str, number: int, **values: str) -> None:
    """Make the changes, unless somebody else has raised further."""
    name = lower.split()[0]
    with suppress(ConditionFailed):
        client.call(
            "UpdateItem",
            Key=KEY,
            UpdateExpression=f"SET {changes}",
            ConditionExpression=f"attribute_not_exists({name}) OR {lower}",
            ExpressionAttributeNames={
                each: each[1:] for each in ("#read", "#written", "#since") if each in changes
            },
            ExpressionAttributeValues={":number": {"N": str(number)}}
            | {f":{each}": {"S": value} for each, value in values.items()},
        )


def _counts(item: Item) -> Counts:
    counts = [int(item.get(name, {"N": FIRST_SHARDS})["N"]) for name in ("read", "written")]
    since = datetime.fromisoformat(item["since"]["S"]) if "since" in item else None
    return Counts(counts[0], counts[1], since)
