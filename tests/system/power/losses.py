"""Losses of power in the middle of a scenario, and what is wrong after each."""

import json
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.chat import fork_server, processes
from tests.system.power.disk import Disk, choices
from tests.system.power.recording import record

WORKLOAD = ["-m", "tests.system.power.workload"]
CHANGES = "wtcmurls"
"""The kinds of events after which a loss leaves other disks than before."""


@dataclass
class Facts:
    """What was promised so far."""

    rows: dict[str, list[str | None]] = field(default_factory=dict)
    """The responses that an interaction may have; None if it may be missing."""
    keys: dict[str, str] = field(default_factory=dict)
    """The interactions of idempotency keys."""
    backups: list[str] = field(default_factory=list)

    def add(self, told: dict[str, Any]) -> None:
        """What a program has told."""
        for row_id, response in told.get("begun", {}).items():
            self.rows[row_id] = [*self.rows.get(row_id, [None]), response]
        for row_id, response in told.get("done", {}).items():
            self.rows[row_id] = [response]
        self.keys |= told.get("keys", {})
        self.backups += told.get("backups", [])


class Checker:
    """The program that looks at what is left in a folder."""

    def __init__(self, folder: Path, **values: str) -> None:
        self._process = fork_server.Popen(
            ["-m", "tests.system.power.checking"],
            processes.environment(folder, **values),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preloaded=True,
        )
        assert self._process.stdout
        self._process.stdout.readline()
        shutil.rmtree(folder, ignore_errors=True)  # its settings have made it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()

    def problems(self, facts: Facts) -> list[str]:
        """What is wrong there."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(vars(facts)) + "\n")
        self._process.stdin.flush()
        found: list[str] = json.loads(self._process.stdout.readline())
        return found


@dataclass
class Result:
    """How many disks were looked at, and what was wrong, with the event after which it was."""

    events: int
    disks: int = 0
    wrong: list[tuple[int, list[str]]] = field(default_factory=list)


class Scenario:
    """A scenario that has run in a folder, which had a database."""

    def __init__(self, library: Path, root: Path, name: str, without: str = "") -> None:
        self._root = root
        self._disk = Disk(root)
        self.events = record(
            library,
            root,
            [*WORKLOAD, name],
            **processes.environment(root, WITHOUT=without),
        )
        self._whole = root.with_name(f"{root.name}.whole")
        root.rename(self._whole)

    def lose_power(self, *, points: int, others: int, until: str = "") -> Result:
        """Lose power after `points` of the calls, or after each, if there are no more.

        After each of these, look at the disk that has nothing unsafe, at the one that has all,
        and at `others`. Looks no more once a problem with the words `until` was found.
        """
        changes = [n for n, event in enumerate(self.events) if event.kind in CHANGES]
        chosen = {*(changes if points >= len(changes) else _sample(changes, points)), changes[-1]}
        result, facts = Result(len(changes)), Facts()
        with Checker(self._root) as checker:
            for number, event in enumerate(self.events):
                if event.kind == "!":
                    facts.add(json.loads(event.first))
                    continue
                self._disk.apply(event)
                if number in chosen and not (until and until in str(result.wrong)):
                    self._look(number, others, facts, checker, result)
        assert self._disk.is_as(self._whole) == [], "the record has a gap"
        return result

    def _look(
        self, number: int, others: int, facts: Facts, checker: Checker, result: Result
    ) -> None:
        for choice in choices(str(number), others):
            self._disk.leave(self._root, choice)
            result.disks += 1
            if found := checker.problems(facts):
                result.wrong.append((number, found))
            shutil.rmtree(self._root)


def _sample(changes: list[int], points: int) -> list[int]:
    """The same number out of each part, so that all that a scenario does is hit."""
    choose, size = random.Random(0), (len(changes) - 1) / points
    return [changes[int((part + choose.random()) * size)] for part in range(points)]
