"""What the clients of a soak know, and so what every answer may show.

A write whose answer never came may have been done or not, so its interaction is only required to
show one of the states that were begun. Of all others each answer has exactly one right content.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

GONE = "gone"


@dataclass
class Row:
    """One interaction: its possible contents now, and since when."""

    user_id: str
    message: str
    interaction_id: str = field(default_factory=lambda: str(uuid4()))
    possible: tuple[str, ...] = (GONE,)
    """Responses that it may have, or GONE. Exactly one, unless an answer was lost."""

    since: float = 0.0
    """When the last write was acknowledged (`time.monotonic`)."""

    writing: bool = False
    changes: int = 0
    """How many writes were begun. A read that began before another one is not judged."""


@dataclass(frozen=True)
class Fault:
    """An answer that is not right."""

    kind: str
    what: str


class Known:
    """The interactions of one soak, shared by all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rows: dict[str, Row] = {}
        self.recent: deque[Row] = deque(maxlen=200)
        self.faults: list[Fault] = []
        self.counts: dict[str, int] = {}
        self.erasing: set[str] = set()
        """Users who are being erased or have been: nobody writes for them any more."""

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def fault(self, kind: str, what: str) -> None:
        with self._lock:
            self.faults.append(Fault(kind, what))
        print(f"  FAULT {kind}: {what}", flush=True)

    def begin(self, row: Row, content: str) -> bool:
        """Begin a write. False if somebody else is at it, or the user is being erased."""
        with self._lock:
            if row.writing or row.user_id in self.erasing:
                return False
            self.rows[row.interaction_id] = row
            row.writing = True
            row.changes += 1
            row.possible = (*row.possible, content)
            return True

    def end(self, row: Row, content: str | None) -> None:
        """The write was acknowledged with this content; None if its answer was lost."""
        with self._lock:
            row.writing = False
            if content is not None:
                row.possible = (content,)
                row.since = time.monotonic()
                self.counts["acknowledged"] = self.counts.get("acknowledged", 0) + 1
            else:
                self.counts["unknown"] = self.counts.get("unknown", 0) + 1
            self.recent.append(row)

    def cancel(self, row: Row) -> None:
        """The write was never sent: what may be there is what might have been before."""
        with self._lock:
            row.writing = False
            row.possible = row.possible[:-1]

    def close(self, user_id: str) -> bool:
        """No more writes for this user. False while one is under way."""
        with self._lock:
            self.erasing.add(user_id)
            return not any(row.writing for row in self.of(user_id))

    def of(self, user_id: str) -> list[Row]:
        return [row for row in self.rows.values() if row.user_id == user_id]

    def erased(self, user_id: str) -> None:
        with self._lock:
            for row in self.of(user_id):
                row.possible = (GONE,)
                row.changes += 1
                row.since = time.monotonic()

    def judge(self, row: Row, changes: int, shown: str, began: float) -> None:
        """Note a fault if an answer shows what no acknowledged write can have led to.

        `changes` is what `row.changes` was before the read began.
        """
        with self._lock:
            if row.changes != changes or began <= row.since or shown in row.possible:
                return  # it is right, or a write was under way meanwhile
            right = row.possible
        age = f"{began - row.since:.2f} s after the last acknowledged write"
        kind = "back" if right == (GONE,) else "lost" if shown == GONE else "stale"
        self.fault(kind, f"{row.interaction_id} of {row.user_id}, {age}: {shown!r}, not {right!r}")

    def snapshot(self) -> list[tuple[Row, int]]:
        with self._lock:
            return [(row, row.changes) for row in self.rows.values()]

    def any_row(self, choose: Any) -> Row | None:
        """A row that was written lately, or any."""
        with self._lock:
            among = self.recent if self.recent and choose.random() < 0.5 else None
            rows = among or list(self.rows.values())
            return choose.choice(rows) if rows else None
