"""The real server, as these tests load, starve and kill it."""

import http.client
import json
import signal
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import config  # noqa: F401  (puts pysqlite3 in the place of sqlite3)
from tests.chat import processes
from tests.chat.calls import of_user
from tests.sqlite import connect

DATABASE = "data.sqlite3"


class Server(processes.Server):
    """`manage.py serve` with its data in `folder`, or on a `SmallDisk`.

    `without` names a protection that it lacks, in `tests.system.reliability.unprotected`.
    """

    def __init__(self, folder: Path, disk: Any = None, without: Any = None, **values: Any) -> None:
        if without:
            values["DJANGO_SETTINGS_MODULE"] = "tests.system.reliability.unprotected"
            values["WITHOUT"] = without
        super().__init__(folder, disk, **values)

    def kill(self) -> None:
        """kill -9 of granian and all its workers at once."""
        self.end(signal.SIGKILL)

    def wait(self) -> Any:
        """Wait until it ends by itself; gives the exit status."""
        return self._process.wait(processes.START_SECONDS)


@dataclass(frozen=True)
class Answer:
    """What a client has read to its end."""

    status: int
    content_type: str
    value: Any


class Client:
    """One connection to a server that is kept open from request to request."""

    def __init__(self, server: Any) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", server.port, timeout=processes.COMMAND_SECONDS
        )
        self._headers = {
            "Authorization": f"Api-Key {server.key}",
            "Content-Type": "application/json",
        }

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, value: Any = None, **headers: Any) -> Any:
        """Raises OSError or HTTPException if no whole answer arrives."""
        body = None if value is None else json.dumps(value)
        self._connection.request(method, path, body, self._headers | headers)
        response = self._connection.getresponse()
        answer = response.read()
        value = json.loads(answer) if answer else None
        return Answer(response.status, response.headers["Content-Type"], value)

    def everything_of(self, user_id: str | None) -> Any:
        """All interactions of a user, from every page."""
        found, path = [], f"{of_user(user_id)}?limit=200"
        while path:
            answer = self.call("GET", path)
            assert answer.status == 200, answer
            found += answer.value["results"]
            following = urlsplit(answer.value["next"] or "")
            path = following.path and f"{following.path}?{following.query}"
        return found


def integrity(database: Any) -> Any:
    """What SQLite says of a database file: `ok` if it is whole."""
    with closing(connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


def messages_by_id(database: Any) -> dict[Any, Any]:
    """The message of every interaction in a database file."""
    with closing(connect(database)) as connection:
        return dict(
            connection.execute("SELECT interaction_id, message FROM storage_chatinteraction")
        )
