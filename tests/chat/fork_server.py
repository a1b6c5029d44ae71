"""Commands as processes of their own, at a quarter of what a start of Python costs.

A fork server imports the libraries once and forks for each command. The child has the command's
environment, files and arguments before it imports Django's settings or anything of this project.
`manage.py serve` becomes granian by `exec`, which would forget the libraries. So here another child
of the fork server, which has imported nothing of this project, goes on as granian.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
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
    "granian.cli",
    "granian.server",
    "jinja2",
    "jsonschema",
    "msgspec",
    "orjson",
    "pynamodb.models",
    "redis",
    "redis.asyncio.cluster",
    "requests",
    "rich.progress",
    "sqlalchemy",
    "sqlalchemy.pool",
    "yaml",
)
"""None of them looks at the environment when it is imported, as `prometheus_client` does."""

_server: subprocess.Popen[str] | None = None


class Process:
    """A command that goes on, with what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, status: Path) -> None:
        self.pid = pid
        self._status = status

    def poll(self) -> int | None:
        """The exit status, or None while it goes on."""
        try:
            return int(self._status.read_text())
        except FileNotFoundError:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; TimeoutExpired if that takes too long."""
        end = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(MANAGE, timeout or 0)
            time.sleep(0.01)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def run(
    arguments: list[str], environment: dict[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run `manage.py` with these arguments to its end."""
    with tempfile.TemporaryDirectory(prefix="command-") as folder:
        files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        files[0].write_bytes(stdin)
        status = _ordered(
            {
                "arguments": arguments,
                "environment": environment,
                "files": [str(file) for file in files],
            }
        )
        return subprocess.CompletedProcess(
            [MANAGE, *arguments], status, files[1].read_bytes(), files[2].read_bytes()
        )


def serve(environment: dict[str, str], output: Path) -> Process:
    """Start `manage.py serve` in a process group of its own; `output` gets what it prints."""
    status = output.with_suffix(".status")
    order = {
        "arguments": ["serve"],
        "environment": environment,
        "files": [os.devnull, str(output), str(output)],
        "status": str(status),
    }
    return Process(_ordered(order), status)


def _ordered(order: dict[str, Any]) -> int:
    """What the fork server answers."""
    server = _started()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(order) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


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
    going_on: dict[int, str] = {}
    signal.signal(signal.SIGCHLD, functools.partial(_note_ends, going_on))
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        # Who has just been started is known before the news of its end is looked at.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if not (child := os.fork()):
            answers.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            return order
        if "status" in order:
            going_on[child] = order["status"]
            answer = child
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        print(answer, file=answers, flush=True)
    return None


def _note_ends(going_on: dict[int, str], *_: Any) -> None:
    """Write down the exit status of each server that has ended."""
    for child, name in list(going_on.items()):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            del going_on[child]
            new = Path(f"{name}.new")
            new.write_text(str(os.waitstatus_to_exitcode(status)))
            new.replace(name)


def _become(command: dict[str, Any]) -> None:
    """Take on the files, environment and arguments of the command."""
    for number, (name, mode) in enumerate(
        zip(command["files"], (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)
    ):
        opened = os.open(name, mode | (os.O_APPEND if number else 0), 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    _set_environment(command["environment"])
    sys.argv = [MANAGE, *command["arguments"]]
    sys.path[0] = str(ROOT)
    os.umask(0o022)  # as most shells have it
    del sys.modules["config"]  # which sets another, whenever this project starts


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)
    time.tzset()


def _status(main: Callable[[], Any]) -> int:
    """The exit status of a program, as Python makes it."""
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _manage() -> None:
    runpy.run_path(MANAGE, run_name="__main__")


def _end_with(status: int) -> None:
    """End as Python does, but for taking all modules apart, which takes as long as the command."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _serve() -> None:
    """Be granian, as soon as a child has prepared everything with `manage.py serve`."""
    os.setsid()
    ours, childs = socket.socketpair()
    if not (child := os.fork()):
        ours.close()
        os.execv = functools.partial(_hand_over, childs)  # type: ignore[assignment]
        _end_with(_status(_manage))
    childs.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child gets it as well, and ends
    signal.signal(signal.SIGTERM, functools.partial(_end_both, child))
    handed_over, _kept_open = _received(ours)
    _, status = os.waitpid(child, 0)
    if not handed_over:
        os._exit(os.waitstatus_to_exitcode(status))
    _set_environment(handed_over["environment"])
    sys.argv = handed_over["arguments"]
    os.umask(handed_over["umask"])
    resource.setrlimit(resource.RLIMIT_NOFILE, handed_over["files"])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from granian import cli

    _end_with(_status(cli.entrypoint))


def _end_both(child: int, number: int, _frame: Any) -> None:
    os.kill(child, number)
    os.waitpid(child, 0)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _hand_over(to: socket.socket, _program: str, arguments: list[str]) -> None:
    """In the place of `exec`: tell all that another program would find, and end."""
    # What `os.putenv` has set is in the environment, but not in `os.environ`.
    environment = subprocess.run(["env", "-0"], stdout=subprocess.PIPE, check=True, text=True)
    found = {
        "arguments": arguments,
        "environment": dict(
            line.split("=", 1) for line in environment.stdout.split("\0") if "=" in line
        ),
        "umask": os.umask(0),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    }
    sys.stdout.flush()
    sys.stderr.flush()
    socket.send_fds(to, [json.dumps(found).encode()], _inherited())
    os._exit(0)


def _inherited() -> list[int]:
    """The files that a program after `exec` would have, but for the first three."""
    numbers = [int(entry.name) for entry in Path("/dev/fd").iterdir()]
    return [number for number in numbers if number > 2 and _is_inheritable(number)]


def _is_inheritable(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:  # it was that of the folder
        return False


def _received(ours: socket.socket) -> tuple[Any, list[int]]:
    """What was handed over, and the open files; None if the other one has ended instead."""
    parts: list[bytes] = []
    files: list[int] = []
    while True:
        part, found, _, _ = socket.recv_fds(ours, 1 << 20, 64)
        if not part:
            return json.loads(b"".join(parts) or b"null"), files
        parts.append(part)
        files += found


def main() -> None:
    """Serve; each child goes on as the command."""
    import config  # noqa: F401  (it puts pysqlite3 in the place of sqlite3 for the libraries)

    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # so that no child's collection copies the pages of the libraries
    if command := _next_command():
        _become(command)
        if "status" in command:
            _serve()
        _end_with(_status(_manage))


if __name__ == "__main__":
    main()
