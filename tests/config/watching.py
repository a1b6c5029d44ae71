"""A server's handler in this process, and the log as a server writes it."""

import io
import json
import logging
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from django.test import RequestFactory

from config import requests
from config.lines import JsonLines, Lines


def ask(handler: Any, method: str, path: str, body: bytes = b"", **environ: Any) -> Any:
    """The answer to a request: status, headers and content."""
    about = {"CONTENT_LENGTH": str(len(body))} if body else {}
    request = RequestFactory().generic(method, path).environ
    answer: dict[str, Any] = {}

    def start_response(status: str, headers: Any) -> None:
        answer.update(status=int(status.split()[0]), headers=dict(headers))

    found = handler({**request, "wsgi.input": io.BytesIO(body), **about, **environ}, start_response)
    content = b"".join(found)
    if hasattr(found, "close"):
        found.close()
    return SimpleNamespace(**answer, content=content)


class Log:
    """What the console shows."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        requests.write()
        return self._stream.getvalue()

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def requests(self) -> list[Any]:
        return [line for line in self.lines if line["logger"] == "chat.access"]


@contextmanager
def log_of(formatter: Lines | None = None, level: int = logging.INFO) -> Any:
    """The log in JSON, or in another format, from now on."""
    requests.write()  # what other tests have left
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter or JsonLines())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield Log(stream)
    finally:
        requests.write()
        root.removeHandler(handler)
        root.setLevel(before)
