"""One client: what it asks of a server, and whether the answers are right."""

import http.client
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from harness.contestants import Contestant
from harness.data import SEED, DataSet

PAGE_SIZE = 50
BATCH_SIZE = 100
TIMEOUT_SECONDS = 30
ANSWER_SHOWN = 1000


class WrongAnswerError(Exception):
    """A server has answered something that is not true."""


class Call(NamedTuple):
    """A request that is ready to be sent, and the check of its answer."""

    method: str
    path: str
    body: bytes | None
    status: int
    check: Callable[[Any], bool]


class Client:
    """Sends calls over a few connections, which stay open if the server leaves them open."""

    def __init__(self, port: int, authorization: str, connections: int) -> None:
        self._connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
            for _ in range(connections)
        ]
        self._headers = {"Authorization": authorization, "Accept": "application/json"}
        self._body_headers = self._headers | {"Content-Type": "application/json"}

    def close(self) -> None:
        """Close the connections. Each is opened again when a call needs it, not before: the
        sync worker of gunicorn does nothing else while it waits for an idle one's request."""
        for connection in self._connections:
            connection.close()

    def send(self, call: Call) -> float:
        """Send one call, check the answer; gives the seconds from sending to the last byte."""
        started = time.perf_counter()
        self._ask(self._connections[0], call)
        status, body = self._answer(self._connections[0])
        seconds = time.perf_counter() - started
        _check(call, status, body)
        return seconds

    def send_all(self, calls: list[Call]) -> None:
        """Keep as many calls in flight as there are connections; check the answers."""
        free = deque(self._connections)
        asked: deque[tuple[http.client.HTTPConnection, Call]] = deque()
        todo = deque(calls)
        while todo or asked:
            while todo and free:
                self._ask(free[0], todo[0])
                asked.append((free.popleft(), todo.popleft()))
            connection, call = asked.popleft()
            status, body = self._answer(connection)
            free.append(connection)
            _check(call, status, body)

    def _ask(self, connection: http.client.HTTPConnection, call: Call) -> None:
        headers = self._headers if call.body is None else self._body_headers
        connection.request(call.method, call.path, call.body, headers)

    def _answer(self, connection: http.client.HTTPConnection) -> tuple[int, bytes]:
        response = connection.getresponse()
        return response.status, response.read()


class Operations:
    """Makes the calls of each operation: the same for each server, in the same order."""

    def __init__(self, contestant: Contestant, data_set: DataSet) -> None:
        self._contestant = contestant
        self._data_set = data_set
        self._random = random.Random(SEED)
        self._next_text = 0
        self.saved = 0

    def get(self) -> Call:
        """A random interaction by id."""
        return self._get(self._random.randrange(self._data_set.count))

    def hit(self) -> Call:
        """Always the same interaction."""
        return self._get(self._data_set.count // 2)

    def page(self) -> Call:
        """The newest 50 of a random user, whatever has been saved since the start."""
        user = self._random.choice(self._data_set.users)
        return self._page(user, lambda answer: _is_page(answer, user))

    def first_pages(self) -> Iterator[Call]:
        """The newest 50 of every user, which must be exactly these. Only before any save."""
        for user in self._data_set.users:
            expected = self._data_set.newest_ids(user, PAGE_SIZE)

            def check(answer: Any, user: str = user, expected: list[str] = expected) -> bool:
                return _is_page(answer, user) and _ids(answer) == expected

            yield self._page(user, check)

    def save(self) -> Call:
        """A new interaction."""
        new = self._new()

        def check(answer: Any) -> bool:
            self.saved += 1
            return new.items() <= answer.items() and bool(answer["interaction_id"])

        return Call("POST", self._path("save"), _encode(new), 201, check)

    def batch(self) -> Call:
        """100 new interactions."""
        body = _encode({"interactions": [self._new() for _ in range(BATCH_SIZE)]})

        def check(answer: Any) -> bool:
            self.saved += BATCH_SIZE
            return len(answer["results"]) == len(set(_ids(answer))) == BATCH_SIZE and all(
                each.get("status", "created") == "created" for each in answer["results"]
            )

        return Call("POST", self._path("batch"), body, self._contestant.batch_status, check)

    def _get(self, index: int) -> Call:
        row = self._data_set.row(index)._asdict()
        del row["created_at"], row["updated_at"]  # each server writes times in its own way
        path = self._path("get", id=row["interaction_id"])
        return Call("GET", path, None, 200, lambda answer: row.items() <= answer.items())

    def _page(self, user: str, check: Callable[[Any], bool]) -> Call:
        return Call("GET", self._path("page", user=user), None, 200, check)

    def _new(self) -> dict[str, Any]:
        text = self._data_set.texts[self._next_text % len(self._data_set.texts)]
        self._next_text += 1
        return {
            "user_id": self._random.choice(self._data_set.users),
            "message": text.message,
            "response": text.response,
            "model_used": "example-70b-instruct",
            "input_tokens": len(text.message) // 4,
            "output_tokens": len(text.response) // 4,
        }

    def _path(self, operation: str, **values: str) -> str:
        return self._contestant.paths[operation].format(**values)


def _check(call: Call, status: int, body: bytes) -> None:
    if status != call.status or not call.check(json.loads(body)):
        raise WrongAnswerError(f"{call.method} {call.path}: {status} {body[:ANSWER_SHOWN]!r}")


def _is_page(answer: Any, user: str) -> bool:
    results = answer["results"]
    times = [each["created_at"] for each in results]
    return (
        len(results) == len(set(_ids(answer))) == PAGE_SIZE
        and bool(answer["next"])
        and all(each["user_id"] == user and each["message"] for each in results)
        and times == sorted(times, reverse=True)
    )


def _ids(answer: Any) -> list[str]:
    return [each["interaction_id"] for each in answer["results"]]


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
