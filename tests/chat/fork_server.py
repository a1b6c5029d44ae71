"""Commands as processes of their own, at a quarter of what a start of Python costs.

A server imports the libraries once and forks for each command. The child has the command's
environment, files and arguments before it imports Django's settings or anything of this project.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MANAGE = str(ROOT / "manage.py")

LIBRARIES = (
    "botocore.client",
    "botocore.session",
    "django.core.handlers.wsgi",
    "django.core.mail",
    "django.core.management.commands.check",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.db.models",
    "django.template.loader",
    "django.urls",
    "django.views.generic",
    "environ",
    "jinja2",
    "jsonschema",
    "msgspec",
    "orjson",
    "pynamodb.models",
    "redis",
    "redis.asyncio.cluster",
    "requests",
    "rich.progress",
    "yaml",
)
"""None of them looks at the environment when it is imported, as `prometheus_client` does."""

_server: subprocess.Popen[str] | None = None


def run(
    arguments: list[str], environment: dict[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run `manage.py` with these arguments to its end."""
    with tempfile.TemporaryDirectory(prefix="command-") as folder:
        files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        files[0].write_bytes(stdin)
        order = {
            "arguments": arguments,
            "environment": environment,
            "files": [str(file) for file in files],
        }
        server = _started()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(
            [MANAGE, *arguments], status, files[1].read_bytes(), files[2].read_bytes()
        )


def _started() -> subprocess.Popen[str]:
    global _server
    if _server is None:
        _server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
            text=True,
            start_new_session=True,  # so that a command that hangs can be ended with it
        )
        atexit.register(_end, _server)
    return _server


def _end(server: subprocess.Popen[str]) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.communicate()


def _next_command() -> dict[str, Any] | None:
    """In a child, what it is to do; None in the server when nobody needs it any more."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        if not (child := os.fork()):
            answers.close()
            found: dict[str, Any] = json.loads(line)
            return found
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    return None


def _become(command: dict[str, Any]) -> None:
    """Take on the files, environment and arguments of the command."""
    for number, (name, mode) in enumerate(
        zip(command["files"], (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)
    ):
        opened = os.open(name, mode, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.clear()
    os.environ.update(command["environment"])
    time.tzset()
    sys.argv = [MANAGE, *command["arguments"]]
    sys.path[0] = str(ROOT)


def _status() -> int:
    """The exit status of the command, as Python makes it."""
    try:
        runpy.run_path(MANAGE, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end_with(status: int) -> None:
    """End as Python does, but for taking all modules apart, which takes as long as the command."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Serve; each child goes on as the command."""
    import config  # noqa: F401  (it puts pysqlite3 in the place of sqlite3 for the libraries)

    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # so that no child's collection copies the pages of the libraries
    if command := _next_command():
        _become(command)
        _end_with(_status())


if __name__ == "__main__":
    main()
