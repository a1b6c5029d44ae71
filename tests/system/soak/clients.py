"""Clients of a soak: they save, complete, delete, read, list and look up, and judge each answer."""

import http.client
import json
import os
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.chat.calls import BATCH, INTERACTIONS, LOOKUP, of_user, one
from tests.system.soak.known import GONE, Known, Row

ANSWER_SECONDS = 60
LOGGED_SECONDS = 1.0
"""After which a request is in the server's log."""

PAUSE_SECONDS = 0.02
"""Between two calls of one client, on average."""

TEXT = " Of trees, tables and logs." * 12
REFUSED = (429, 503, 507)
"""Answers that say: nothing was done, try again."""


@dataclass(frozen=True)
class Answer:
    """Status and decoded body."""

    status: int
    value: Any


class NoAnswer(Exception):
    """The connection ended before the whole answer had come."""


class NotSent(NoAnswer):
    """No server took the connection."""


class Client(threading.Thread):
    """One client, on one connection to one of the servers at a time."""

    def __init__(
        self,
        known: Known,
        world: Any,
        seed: int,
        stop: threading.Event,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        super().__init__(daemon=True)
        self._known, self._world, self._stopped, self._pause = known, world, stop, pause
        self._choose = random.Random(seed)
        self._connection: http.client.HTTPConnection | None = None
        self._written = 0
        self._name = f"c{seed}"

    def run(self) -> None:
        calls = [self._read, self._lookup, self._create, self._complete, self._remove]
        calls += [self._list, self._batch]
        while not self._stopped.wait(self._choose.expovariate(1 / self._pause)):
            call = self._choose.choices(calls, (40, 10, 18, 12, 8, 4, 2))[0]
            try:
                call()
            except NoAnswer:
                self._known.count("unanswered")
            except Exception as error:
                self._known.fault("error in a client", f"{call.__name__}: {error!r}")

    def _content(self) -> str:
        self._written += 1
        return f"{self._name} wrote {self._written}.{TEXT}"

    def _user(self) -> str:
        return f"user-{self._choose.randrange(self._world.users)}"

    def _new(self) -> Row:
        return Row(self._user(), f"What is {self._name} {self._written}?")

    def _create(self) -> None:
        row, content = self._new(), self._content()
        if not self._known.begin(row, content):
            return
        headers = {"Idempotency-Key": row.interaction_id} if self._choose.random() < 0.5 else {}
        self._write(row, content, 201, "POST", INTERACTIONS, _body(row, content), headers)

    def _batch(self) -> None:
        rows = [(self._new(), self._content()) for _ in range(self._choose.randint(2, 30))]
        rows = [(row, content) for row, content in rows if self._known.begin(row, content)]
        if not rows:
            return
        done = False
        try:
            body = {"interactions": [_body(row, content) for row, content in rows]}
            done = self._answer("POST", BATCH, body).status == 200
        except NotSent:
            for row, _ in rows:
                self._known.cancel(row)
            return
        except NoAnswer:
            pass
        for row, content in rows:
            self._known.end(row, content if done else None)

    def _complete(self) -> None:
        row, content = self._known.any_row(self._choose), self._content()
        if row is None or row.possible == (GONE,) or not self._known.begin(row, content):
            return
        self._write(row, content, 200, "PATCH", one(row.interaction_id), {"response": content})

    def _remove(self) -> None:
        row = self._known.any_row(self._choose)
        if row is None or not self._known.begin(row, GONE):
            return
        self._write(row, GONE, 204, "DELETE", one(row.interaction_id))

    def _write(self, row: Row, content: str, status: int, *call: Any) -> None:
        try:
            answer = self._answer(*call)
        except NotSent:
            self._known.cancel(row)
        except NoAnswer:
            self._known.end(row, None)
        else:
            done = answer.status == status or (status, answer.status) == (201, 200)
            self._known.end(row, content if done else self._refused(row, answer))

    def _refused(self, row: Row, answer: Answer) -> str | None:
        """The content after a refusal: 404 for what is gone, 409 for what is archived."""
        before = row.possible[:-1]
        if answer.status == 404 and GONE not in before:
            self._known.fault("lost", f"a write to {row.interaction_id}, not {before!r}: {answer}")
        if answer.status == 404:
            return GONE
        return before[0] if answer.status == 409 and len(before) == 1 else None

    def _read(self) -> None:
        row = self._known.any_row(self._choose)
        if row is not None:
            changes, began = row.changes, time.monotonic()
            answer = self._answer("GET", one(row.interaction_id))
            self._judge(row, changes, answer, began)

    def _lookup(self) -> None:
        row = self._known.any_row(self._choose)
        if row is None or row.writing:
            return
        changes, began = row.changes, time.monotonic()
        asked = {"user_id": row.user_id, "message": row.message}
        answer = self._answer("POST", LOOKUP, asked)
        if answer.status == 200:  # an index may lag, so only what is shown is judged
            self._judge(row, changes, answer, began)

    def _list(self) -> None:
        user = self._user()
        rows = {row.interaction_id: (row, changes) for row, changes in self._known.snapshot()}
        began = time.monotonic()
        answer = self._answer("GET", f"{of_user(user)}?limit=50")
        if answer.status == 200:
            for found in answer.value["results"]:
                if found["interaction_id"] in rows:
                    row, changes = rows[found["interaction_id"]]
                    self._known.judge(row, changes, found["response"], began)

    def read(self, interaction_id: str) -> Answer:
        """Read one interaction, as often as it takes to get an answer."""
        while True:
            try:
                answer = self._answer("GET", one(interaction_id))
            except NoAnswer:
                continue
            if answer.status not in REFUSED:
                return answer
            time.sleep(0.2)

    def _judge(self, row: Row, changes: int, answer: Answer, began: float) -> None:
        if answer.status == 200:
            self._known.judge(row, changes, answer.value["response"], began)
        elif answer.status == 404:
            self._known.judge(row, changes, GONE, began)

    def _answer(self, method: str, path: str, value: Any = None, headers: Any = None) -> Answer:
        """Raises NoAnswer. What the server must never answer is noted as a fault."""
        answer = self._send(method, path, value, headers or {})
        self._known.count(f"answers {answer.status}")
        expected = (200, 201, 204, 404, 409, *REFUSED)
        failed = answer.status >= 500 and not self._world.kills
        if failed or answer.status not in expected:
            self._tell(f"{method} {path}", answer)
        return answer

    def _tell(self, call: str, answer: Answer) -> None:
        """Note a fault, with the problem and what the server's log says of it."""
        lines = ""
        if isinstance(answer.value, dict) and "request_id" in answer.value:
            time.sleep(LOGGED_SECONDS)
            lines = self._world.lines_of(answer.value["request_id"])
        load = f"load {os.getloadavg()[0]:.1f}"
        self._known.fault(f"status {answer.status}", f"{call}, {load}: {answer.value}\n{lines}")

    def _send(self, method: str, path: str, value: Any, headers: dict[str, str]) -> Answer:
        headers = {
            "Authorization": f"Api-Key {self._world.key}",
            "Content-Type": "application/json",
            **headers,
        }
        body = None if value is None else json.dumps(value)
        if self._connection is None or self._choose.random() < 0.05:
            self._close()
            port = self._choose.choice(self._world.ports)
            self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        try:
            if self._connection.sock is None:
                self._connection.connect()
        except OSError as error:
            self._close()
            time.sleep(0.1)
            raise NotSent from error
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            read = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            time.sleep(0.1)
            raise NoAnswer from error
        return Answer(response.status, json.loads(read) if read else None)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _body(row: Row, content: str) -> dict[str, Any]:
    return {
        "interaction_id": row.interaction_id,
        "user_id": row.user_id,
        "message": row.message,
        "response": content,
        "model_used": "model-1",
    }
