"""The application under test, and what it holds compared with the table."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.chat.calls import of_user
from tests.chat.processes import ROOT, Server, environment, manage
from tests.tools.conversations import CASES
from tests.tools.expected import Kept, expected
from tests.tools.runs import RUNS


class Application:
    """`manage.py serve` on SQLite, in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self._server = Server(folder, executed=True).wait_until_it_answers()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def key(self) -> str:
        """A key for all users."""
        return str(self._server.key)

    def stop(self) -> None:
        self._server.stop()

    def key_for(self, user_id: str) -> str:
        """A key that is bound to a user."""
        return self._manage("create_api_key", "tools", "--user", user_id).strip()

    def import_llm(self, logs: str, user_id: str) -> None:
        file = self._server.folder / "logs.json"
        file.write_text(logs)
        self._manage("import_interactions", "--format", "llm", "--user", user_id, str(file))

    def _manage(self, *arguments: str) -> str:
        done = subprocess.run(
            manage(*arguments),
            env=environment(self._server.folder),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def held(self, user_id: str) -> list[Kept]:
        """What it holds of a user."""
        found: list[Kept] = []
        path = f"{of_user(user_id)}?limit=200"
        while path:
            status, answer = self._server.call("GET", path)
            assert status == 200, answer
            found += [_kept(one) for one in answer["results"]]
            following = urlsplit(answer["next"] or "")
            path = following.path and f"{following.path}?{following.query}"
        return found

    def left_out(self, source: str) -> Counter[str]:
        """How many were left out so far, by reason."""
        headers = {"Authorization": f"Api-Key {self.key}"}
        status, _, body = self._server.request("GET", "/metrics", headers=headers)
        assert status == 200, body
        pattern = rf'^chat_intake_left_out_total{{reason="(\w+)",source="{source}"}} (\S+)$'
        found = re.findall(pattern, body.decode(), re.MULTILINE)
        return Counter({reason: int(float(count)) for reason, count in found if float(count)})


@contextmanager
def serving(folder: Path) -> Iterator[Application]:
    """The application, until the block ends."""
    application = Application(folder)
    try:
        yield application
    finally:
        application.stop()


def _kept(one: dict[str, Any]) -> Kept:
    return Kept(
        one["message"],
        one["response"],
        one["model_used"],
        one["input_tokens"],
        one["output_tokens"],
    )


def differences(
    name: str, application: Application, user_id: str, before: Counter[str] | None
) -> list[str]:
    """What is not as in the table, a line each; `before` are the reasons before the run."""
    held = {one.message: one for one in application.held(user_id)}
    found, reasons = [], Counter[str]()
    for case, conversation in CASES.items():
        outcomes = [expected(name, case, signal) for signal in RUNS[name].signals]
        reasons += sum((outcome.left_out for outcome in outcomes), Counter())
        wanted = [one for outcome in outcomes for one in (outcome.kept, *outcome.or_kept) if one]
        one = held.pop(conversation.question, None)
        if one not in (wanted or [None]):
            found.append(f"{case}: {one}, expected {wanted}")
    found += [f"not expected at all: {one}" for one in held.values()]
    if before is not None:
        counted = application.left_out(RUNS[name].source) - before
        del counted["no_call"]
        if counted != reasons:
            found.append(f"left out: {dict(counted)}, expected {dict(reasons)}")
    return found
