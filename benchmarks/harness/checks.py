"""What every server must answer, text for text: asked before anything is measured."""

import http.client
import json
import random
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

from harness.contestants import Contestant
from harness.data import SEED, DataSet

PAGE_SIZE = 50
BATCH_SIZE = 100
GETS = 50
TIMEOUT_SECONDS = 60
ANSWER_SHOWN = 1000


class WrongAnswerError(Exception):
    """A server has answered something that is not true."""


class Checker:
    """Asks a server with the filled database for all that is measured, and looks at the answers."""

    def __init__(
        self, contestant: Contestant, data_set: DataSet, port: int, authorization: str
    ) -> None:
        self._contestant = contestant
        self._data_set = data_set
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._authorization = authorization

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def wait(self) -> None:
        """Ask for one interaction; raises ConnectionError while the server does not answer."""
        try:
            self._get(0)
        finally:
            self._connection.close()

    def check_reads(self) -> None:
        """Gets, and every user's newest two pages. Only before any save."""
        for index in random.Random(SEED).sample(range(self._data_set.count), GETS):
            self._get(index)
        for user in self._data_set.users:
            expected = self._data_set.newest_ids(user, 2 * PAGE_SIZE)
            first = self._page(self._contestant.paths["page"].format(user=user), expected)
            self._page(first["next"], expected[PAGE_SIZE:])
        self._ask("GET", self._path(0), 401, lambda _: True, authorized=False)

    def check_writes(self) -> list[int]:
        """A save and a batch, read again. Returns the numbers of what was saved."""
        one = self._data_set.new(0)
        self._saved(self._post("save", one, 201, lambda answer: _has(answer, one)), one)
        numbers = range(1, BATCH_SIZE + 1)
        many = [self._data_set.new(number) for number in numbers]
        answer = self._post(
            "batch",
            {"interactions": many},
            self._contestant.batch_status,
            lambda answer: len(set(_ids(answer))) == BATCH_SIZE,
        )
        for place in (0, BATCH_SIZE - 1):
            self._saved(answer["results"][place], many[place])
        return [0, *numbers]

    def _get(self, index: int) -> None:
        row = self._data_set.row(index)._asdict()
        del row["created_at"], row["updated_at"]  # each server writes times in its own way
        self._ask("GET", self._path(index), 200, lambda answer: _has(answer, row))

    def _saved(self, answer: Any, body: dict[str, Any]) -> None:
        path = self._contestant.paths["get"].format(id=answer["interaction_id"])
        self._ask("GET", path, 200, lambda found: _has(found, body))

    def _path(self, index: int) -> str:
        return self._contestant.paths["get"].format(id=self._data_set.ids[index])

    def _page(self, url: str, expected: list[str]) -> Any:
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}"
        return self._ask(
            "GET", path, 200, lambda answer: _ids(answer) == expected[:PAGE_SIZE] and answer["next"]
        )

    def _post(self, operation: str, body: Any, status: int, check: Callable[[Any], bool]) -> Any:
        return self._ask("POST", self._contestant.paths[operation], status, check, body)

    def _ask(
        self,
        method: str,
        path: str,
        status: int,
        check: Callable[[Any], Any],
        body: Any = None,
        *,
        authorized: bool = True,
    ) -> Any:
        headers = {"Accept": "application/json"}
        if authorized:
            headers["Authorization"] = self._authorization
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        self._connection.request(method, path, content, headers)
        response = self._connection.getresponse()
        found = response.read()
        if response.status != status or not check(json.loads(found)):
            shown = f"{response.status} {found[:ANSWER_SHOWN]!r}"
            raise WrongAnswerError(f"{self._contestant.title}: {method} {path}: {shown}")
        return json.loads(found)


def _has(answer: Any, values: dict[str, Any]) -> bool:
    return bool(values.items() <= answer.items())


def _ids(answer: Any) -> list[str]:
    return [interaction["interaction_id"] for interaction in answer["results"]]
