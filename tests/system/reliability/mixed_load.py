"""Clients of several servers on one table, which know what each answer may show.

    python -m tests.system.reliability.mixed_load KEY PORT...

As a process of its own it is no burden on the test that starts and ends it through `Load`.

Each client writes interactions of its own, and all read all. Every write has a number, which the
text it stores begins with; a deletion has one, too. So a read that started after write n was
acknowledged must show n or a later one.
"""

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.chat.calls import BATCH, INTERACTIONS, LOOKUP, new, one

ROOT = Path(__file__).resolve().parents[3]

CLIENTS = 6
THINK_SECONDS = 0.07
"""On average, between an answer and the next request of that client. So some cores are idle when
all is well: here every call to DynamoDB costs CPU of the same machine, which a real one would not,
and a saturated machine would show that and not what an outage of the cache costs."""

OWN = 12
"""Interactions that each client begins with. It keeps between half and twice as many."""

WEIGHTS = {"read": 66, "lookup": 12, "complete": 12, "create": 5, "delete": 5}
RECENTLY_WRITTEN = 30
ANSWER_SECONDS = 300
STOP_SECONDS = 300
TEXT = " What one learns of trees, tables and logs in a long answer of a model." * 20


@dataclass
class Row:
    """One interaction: which writes were begun, and when each was acknowledged."""

    user_id: str
    answered: bool
    """Whether it had an answer from the first."""

    interaction_id: str = field(default_factory=lambda: str(uuid4()))
    begun: int = 0
    deletion: int | None = None
    acknowledged: list[float] = field(default_factory=list)

    @property
    def message(self) -> str:
        return f"What is {self.interaction_id}?"

    def body(self, number: int) -> dict[str, Any]:
        """What write `number` stores."""
        if not number and not self.answered:
            return {"output_tokens": 0}
        return {"response": f"{number}{TEXT}", "output_tokens": number}

    def whole(self) -> Any:
        """What the first write stores."""
        names = {"interaction_id": self.interaction_id, "user_id": self.user_id}
        return new(**names, message=self.message, **self.body(0))


@dataclass
class Call:
    """What a client did, and what came of it: `ok`, `stale`, `wrong` or `failed`."""

    kind: str
    started: float
    """By `time.monotonic`, which all processes share."""

    seconds: float = 0.0
    result: str = "ok"
    age: float = 0.0
    """If stale: how long before the call began something newer had been acknowledged."""

    detail: str = ""


@dataclass(frozen=True)
class Seen:
    """What is judged of an answer."""

    status: int
    value: dict | None


def shown(row: Any, seen: Any, lookup: bool = False) -> Any:
    """The number of the write that an answer shows; None if none can have led to it."""
    if seen.status == 404:
        if row.deletion is not None:
            return row.deletion
        return (-1 if row.answered else 0) if lookup else None
    value = seen.value
    number = value.get("output_tokens") if seen.status in (200, 201) else None
    if not isinstance(number, int) or not 0 <= number <= row.begun or number == row.deletion:
        return None
    stored = {"response": ""} | row.whole() | row.body(number)
    return number if stored.items() <= value.items() else None


def judge(call: Any, row: Any, known: Any, seen: Any, lookup: bool = False) -> None:
    """Note in `call` whether the answer may be; `known` writes were acknowledged before it."""
    number = shown(row, seen, lookup)
    if number is None:
        call.result, call.detail = "wrong", f"{row}: {seen}".replace(TEXT, "...")
    elif number < known - 1:
        call.result = "stale"
        call.age = call.started - row.acknowledged[number + 1]
        call.detail = f"write {number} in place of {known - 1} of {row.interaction_id}"


class Clients:
    """All clients, and what they know together."""

    def __init__(self, key: str, ports: Any) -> None:
        self.key, self.ports = key, ports
        self.stop = threading.Event()
        self.recent = deque(maxlen=RECENTLY_WRITTEN)
        self.each = [Client(self, number) for number in range(CLIENTS)]
        self.has_lookup = self.each[0].has_lookup()

    def any_row(self, choose: Any) -> Any:
        """One written lately, which may be deleted, or any that is there."""
        rows = tuple(self.recent) if choose.random() < 0.4 else ()
        return choose.choice(rows or tuple(choose.choice(self.each).own))

    def run(self) -> list[Any]:
        """Call until told to stop; gives all calls."""
        threads = [threading.Thread(target=client.run) for client in self.each]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [call for client in self.each for call in client.calls]


class Client:
    """One client: a connection to each server, a user, and interactions of its own."""

    def __init__(self, clients: Any, number: int) -> None:
        self._all = clients
        self._random = random.Random(number)
        self._user = f"user-{number}"
        self._connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
            for port in clients.ports
        ]
        self.own = [Row(self._user, answered=True) for _ in range(OWN)]
        self.calls = []

    def has_lookup(self) -> bool:
        """Whether there are lookups."""
        asked = {"user_id": self._user, "message": "Is there a lookup?"}
        seen = self._send("POST", LOOKUP, asked)
        return seen.status == 404  # else 405, as it is the address of an interaction

    def fill(self) -> None:
        """Store what it begins with."""
        bodies = [row.whole() for row in self.own]
        seen = self._send("POST", BATCH, {"interactions": bodies})
        assert seen.status == 200, seen
        for row in self.own:
            row.acknowledged.append(time.monotonic())

    def run(self) -> None:
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        while not self._all.stop.wait(self._random.expovariate(1 / THINK_SECONDS)):
            kind = self._possible(self._random.choices(kinds, weights)[0])
            call = Call(kind, time.monotonic())
            try:
                getattr(self, f"_{kind}")(call)
            except Exception as error:
                call.result, call.detail = "failed", repr(error)
            call.seconds = time.monotonic() - call.started
            self.calls.append(call)

    def _possible(self, kind: Any) -> Any:
        if kind == "lookup" and not self._all.has_lookup:
            return "read"
        if kind == "delete" and len(self.own) <= OWN / 2:
            return "create"
        if kind == "create" and len(self.own) >= OWN * 2:
            return "delete"
        return kind

    def _read(self, call: Any) -> None:
        row = self._all.any_row(self._random)
        known = len(row.acknowledged)
        judge(call, row, known, self._answer("GET", one(row.interaction_id)))

    def _lookup(self, call: Any) -> None:
        row = self._all.any_row(self._random)
        known = len(row.acknowledged)
        asked = {"user_id": row.user_id, "message": row.message}
        judge(call, row, known, self._answer("POST", LOOKUP, asked), lookup=True)

    def _create(self, call: Any) -> None:
        row = Row(self._user, answered=self._random.random() < 0.5)
        self._check(call, row, self._answer("POST", INTERACTIONS, row.whole()), 201)
        self.own.append(row)

    def _complete(self, call: Any) -> None:
        row = self._taken()
        row.begun += 1
        seen = self._answer("PATCH", one(row.interaction_id), row.body(row.begun))
        self._check(call, row, seen, 200)
        self.own.append(row)

    def _delete(self, call: Any) -> None:
        row = self._taken()
        row.begun += 1
        row.deletion = row.begun
        self._check(call, row, self._answer("DELETE", one(row.interaction_id)), 204)

    def _taken(self) -> Any:
        """One of its own. It is put back only when its write has been acknowledged."""
        return self.own.pop(self._random.randrange(len(self.own)))

    def _check(self, call: Any, row: Any, seen: Any, status: int) -> None:
        if seen.status != status or (status != 204 and shown(row, seen) != row.begun):
            call.result, call.detail = "wrong", f"{row}: {seen}".replace(TEXT, "...")
        row.acknowledged.append(time.monotonic())
        self._all.recent.append(row)

    def _answer(self, method: str, path: str, value: Any = None) -> Any:
        """Raises if it is no answer, or an error of the server."""
        seen = self._send(method, path, value)
        if seen.status >= 500:
            raise RuntimeError(f"{method} {path}: {seen}")
        return seen

    def _send(self, method: str, path: str, value: Any = None) -> Any:
        connection = self._random.choice(self._connections)
        headers = {"Authorization": f"Api-Key {self._all.key}", "Content-Type": "application/json"}
        body = None if value is None else json.dumps(value)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        except Exception:
            connection.close()
            raise
        return Seen(response.status, json.loads(answer) if answer else None)


def _stop_at_the_end_of_input(clients: "Clients") -> None:
    sys.stdin.read()
    clients.stop.set()


def main() -> None:
    clients = Clients(sys.argv[1], [int(port) for port in sys.argv[2:]])
    for client in clients.each:
        client.fill()
    print("ready", flush=True)
    sys.stdin.readline()
    threading.Thread(target=_stop_at_the_end_of_input, args=(clients,), daemon=True).start()
    calls = clients.run()
    print(json.dumps({"has_lookup": clients.has_lookup, "calls": [asdict(each) for each in calls]}))


class Load:
    """The clients as a process of its own, which ends with the one that has started it."""

    def __init__(self, key: str, ports: Any, errors: Any) -> None:
        self._errors = errors
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, key, *map(str, ports)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=ROOT,
                text=True,
            )
        assert self._process.stdout.readline() == "ready\n", errors.read_text()

    def start(self) -> None:
        """The interactions are there; now they are used."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> tuple[Any, ...]:
        """Ends the clients; gives their calls in the order of time, and if there were lookups."""
        printed, _ = self._process.communicate(timeout=STOP_SECONDS)
        assert self._process.returncode == 0, self._errors.read_text()
        found = json.loads(printed)
        calls = [Call(**each) for each in found["calls"]]
        return sorted(calls, key=lambda call: call.started), found["has_lookup"]

    def kill(self) -> None:
        """Whatever it does."""
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    main()
