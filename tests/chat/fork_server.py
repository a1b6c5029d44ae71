"""Commands as processes of their own, at a tenth of what a start of Python costs.

A fork server imports the libraries and this project once (`preloaded`), and forks for each command.
The child has the command's environment, files and arguments before it imports `config`, and with it
Django's settings. `manage.py serve` becomes granian by `exec`, which would forget all that. So here
another child of the fork server goes on as granian. What is no command of `manage.py` is a child of
the first fork server, which has imported nothing of this project.
"""

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import itertools
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MANAGE = str(ROOT / "manage.py")

LIBRARIES = (
    "botocore.client",
    "botocore.session",
    "django.contrib.admin.sites",
    "django.contrib.admin.templatetags.admin_list",
    "django.contrib.admin.templatetags.admin_modify",
    "django.contrib.admin.templatetags.log",
    "django.contrib.admin.views.main",
    "django.contrib.admindocs.views",
    "django.contrib.auth.hashers",
    "django.contrib.auth.management",
    "django.contrib.auth.password_validation",
    "django.contrib.auth.tokens",
    "django.contrib.auth.validators",
    "django.contrib.messages.middleware",
    "django.contrib.postgres.fields",
    "django.contrib.sessions.middleware",
    "django.contrib.sites.shortcuts",
    "django.contrib.staticfiles.finders",
    "django.contrib.staticfiles.storage",
    "django.core.cache.backends.dummy",
    "django.core.cache.backends.locmem",
    "django.core.handlers.asgi",
    "django.core.handlers.wsgi",
    "django.core.mail",
    "django.core.management.commands.check",
    "django.core.management.sql",
    "django.core.wsgi",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.db.models",
    "django.middleware.cache",
    "django.middleware.clickjacking",
    "django.middleware.common",
    "django.middleware.csrf",
    "django.middleware.http",
    "django.middleware.security",
    "django.template.loader",
    "django.template.loaders.app_directories",
    "django.template.loaders.cached",
    "django.templatetags.cache",
    "django.templatetags.l10n",
    "django.templatetags.tz",
    "django.test",
    "django.urls",
    "django.utils.translation.reloader",
    "django.views.decorators.http",
    "django.views.defaults",
    "django.views.generic",
    "django.views.i18n",
    "django_otp.oath",
    "django_otp.qr",
    "django_otp.util",
    "drf_spectacular.utils",
    "environ",
    "granian.cli",
    "granian.server",
    "inflection",
    "jinja2",
    "jsonschema",
    "msgspec",
    "orjson",
    "psycopg",
    "pygments.filters",
    "pygments.formatters.html",
    "pygments.lexers",
    "pygments.lexers.special",
    "pynamodb.models",
    "redis",
    "redis.asyncio.cluster",
    "requests",
    "rest_framework.authentication",
    "rest_framework.metadata",
    "rest_framework.permissions",
    "rest_framework.serializers",
    "rest_framework_api_key.crypto",
    "rich.progress",
    "unfold.components",
    "unfold.sections",
    "unittest.mock",
    "uritemplate",
    "uuid_utils",
    "whitenoise.middleware",
    "wsgiref.simple_server",
    "yaml",
)
"""None of them looks at the environment when it is imported, nor at Django's settings: the fork
server has none. `prometheus_client` does: see `preloaded`."""


LONGEST_WAIT = 0.1
"""Seconds until a server that waits for an order looks whether a program has ended."""


class Popen:
    """A Python program in a process of its own, with what tests use of `subprocess.Popen`.

    `words` are what would follow `python`. With PIPE, a stream is a file of this process. The
    program is in the namespaces of the process `beside`, if one is given. One that is `preloaded`
    finds `storage` and `chat` imported, as commands do.
    """

    def __init__(
        self,
        words: Sequence[Any],
        environment: Mapping[str, str],
        *,
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = subprocess.DEVNULL,
        stderr: Any = subprocess.DEVNULL,
        text: bool = False,
        serves: bool = False,
        beside: int | None = None,
        preloaded: bool = False,
    ) -> None:
        self.returncode: int | None = None
        # Other programs may change one module of this project before they import another.
        is_preloaded = preloaded or str(words[0]) == MANAGE
        server = _server_with_project() if is_preloaded else _server()
        self._status = server.new_status()
        with contextlib.ExitStack() as childs:
            self.stdin, given = _stream(stdin, "w", text, childs)
            self.stdout, out = _stream(stdout, "r", text, childs)
            self.stderr, errors = (
                (None, out) if stderr == subprocess.STDOUT else _stream(stderr, "r", text, childs)
            )
            order = {
                "words": [*map(str, words)],
                "environment": dict(environment),
                "status": str(self._status),
                "serves": serves,
                "beside": beside,
            }
            self.pid, self._descriptors = server.ordered(order, [given, out, errors])
        self._close = weakref.finalize(self, _close_all, self._descriptors)

    def poll(self) -> int | None:
        """The exit status, or None while it goes on."""
        if self.returncode is None:
            with contextlib.suppress(FileNotFoundError):
                self.returncode = int(self._status.read_text())
                self._close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; TimeoutExpired if that takes too long."""
        end = None if timeout is None else time.monotonic() + timeout
        if self.returncode is None:
            _wait_for_end(self._descriptors, timeout)
        pause = 0.001
        while (status := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("python", timeout or 0)
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return status

    def communicate(self, given: Any = None) -> tuple[Any, Any]:
        """Write to its standard input, and read all that it prints, until it has ended."""
        with ThreadPoolExecutor(3) as threads:
            outputs = [threads.submit(_rest, stream) for stream in (self.stdout, self.stderr)]
            if self.stdin is not None:
                with contextlib.suppress(BrokenPipeError, ValueError), self.stdin:
                    if given:
                        self.stdin.write(given)
        self.wait()
        return outputs[0].result(), outputs[1].result()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has, since
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _wait_for_end(descriptors: list[int], timeout: float | None) -> None:
    """Until the process of a descriptor has ended, if there is one. Its status is there soon."""
    for descriptor in descriptors:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        ended.poll(None if timeout is None else 1000 * timeout)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _stream(kind: Any, mode: str, text: bool, childs: contextlib.ExitStack) -> tuple[Any, int]:
    """Our end of a stream, if it is a pipe, and the child's, which is closed with `childs`."""
    if kind == subprocess.PIPE:
        reading, writing = os.pipe()
        ours, other = (writing, reading) if mode == "w" else (reading, writing)
        childs.callback(os.close, other)
        if text:
            return os.fdopen(ours, mode), other
        return os.fdopen(ours, f"{mode}b", 0 if mode == "w" else -1), other
    if kind == subprocess.DEVNULL:
        opened = os.open(os.devnull, os.O_RDWR)
        childs.callback(os.close, opened)
        return None, opened
    return None, kind.fileno()


def _rest(stream: Any) -> Any:
    """All that is left in it; it is closed then."""
    if stream is None or stream.closed:
        return None
    with stream:
        return stream.read()


def run(
    words: Sequence[Any],
    environment: Mapping[str, str],
    stdin: bytes = b"",
    *,
    preloaded: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Run such a program to its end."""
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin)
        files[0].seek(0)
        given, output, errors = files
        streams: dict[str, Any] = {"stdin": given, "stdout": output, "stderr": errors}
        status = Popen(words, environment, **streams, preloaded=preloaded).wait()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(words, status, output.read(), errors.read())


def _environment() -> dict[str, str]:
    """That of a fork server, in which whoever looks at Django's settings fails."""
    values = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return values | {"PYTHONUNBUFFERED": "1"}


@functools.cache
def _server() -> "_Server":
    def start(orders: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, str(orders.fileno())],
            stdin=subprocess.DEVNULL,
            env=_environment(),
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests
            pass_fds=[orders.fileno()],
        )

    return _Server(start)


@functools.cache
def _server_with_project() -> "_Server":
    """A program of the other server, which has imported the libraries. It ends first."""
    words = ["-m", "tests.chat.preloaded"]

    def start(orders: socket.socket) -> Popen:
        return Popen(words, _environment(), stdin=orders, stderr=sys.__stderr__)

    return _Server(start)


class _Server:
    """A fork server of this process, which ends with it."""

    def __init__(self, start: "Callable[[socket.socket], subprocess.Popen[bytes] | Popen]") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fork-server-")
        self._numbers = itertools.count()
        self._one_order = threading.Lock()
        self._orders, theirs = socket.socketpair()
        self._process = start(theirs)
        theirs.close()
        atexit.register(self._end)

    def new_status(self) -> Path:
        """Where the exit status of a program is to be written."""
        return Path(self._folder.name, str(next(self._numbers)))

    def ordered(self, order: dict[str, Any], files: list[int]) -> tuple[int, list[int]]:
        """Start a program; its process id, and what can be read when it has ended, if anything."""
        with self._one_order:
            socket.send_fds(self._orders, [json.dumps(order).encode() + b"\n"], files)
            process_id, descriptors, _, _ = socket.recv_fds(self._orders, 20, 1)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return int(process_id), descriptors

    def _end(self) -> None:
        self._orders.close()
        self._process.wait()
        self._folder.cleanup()


def _next_program(orders: socket.socket) -> dict[str, Any] | None:
    """In a child, what it is to do; None in the server when nobody needs it any more."""
    running: dict[int, str] = {}
    signal.signal(signal.SIGCHLD, functools.partial(_note_ends, running))
    while True:
        order, files = _received(orders)
        if not order:  # no test is left, so no program has to go on
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for program in running:
                os.killpg(program, signal.SIGKILL)
            return None
        # Who has just been started is known before the news of its end is looked at.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        child = os.fork()
        if child:
            running[child] = order["status"]
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        if not child:
            os.setsid()  # a process group of its own, which Ctrl-C reaches as a whole
            _tell_process(orders)
            orders.close()
            return order | {"files": files}
        for file in files:
            os.close(file)


def _note_ends(running: dict[int, str], *_: Any) -> None:
    """Write down the exit status of each program that has ended."""
    for child, name in list(running.items()):
        try:
            ended, status = os.waitpid(child, os.WNOHANG)
        except ChildProcessError:
            continue  # the news of another end has interrupted this, and has noted this one, too
        if ended:
            del running[child]
            new = Path(f"{name}.new")
            new.write_text(str(os.waitstatus_to_exitcode(status)))
            new.replace(name)


def _tell_process(orders: socket.socket) -> None:
    """Send the number of this process, and on Linux a descriptor that tells of its end."""
    process_id = os.getpid()
    descriptors = [os.pidfd_open(process_id)] if hasattr(os, "pidfd_open") else []
    socket.send_fds(orders, [str(process_id).encode()], descriptors)
    _close_all(descriptors)


def _received(ours: socket.socket) -> tuple[Any, list[int]]:
    """One line of JSON and the open files that came with it; None if the sender has gone."""
    line = b""
    files: list[int] = []
    while not line.endswith(b"\n"):
        # A signal that comes just before a call that waits is looked at when that ends. So it ends.
        while not select.select([ours], [], [], LONGEST_WAIT)[0]:
            pass
        part, found, _, _ = socket.recv_fds(ours, 1 << 20, 64)
        if not part:
            return None, files
        line += part
        files += found
    return json.loads(line), files


def _become(program: dict[str, Any]) -> None:
    """Take on the files and the environment of the program."""
    for number, file in enumerate(program["files"]):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    _set_environment(program["environment"])
    sys.path[0] = str(ROOT)
    if program["beside"]:
        _join(program["beside"])
    os.umask(0o022)  # as most shells have it
    del sys.modules["config"]  # which sets another, whenever this project starts


def _join(process: int) -> None:
    """Enter the user and mount namespaces of a process, as `nsenter` does."""
    library = ctypes.CDLL(None, use_errno=True)
    folder = Path.cwd()
    with contextlib.ExitStack() as opened:
        files = [
            opened.enter_context(Path(f"/proc/{process}/ns/{kind}").open("rb"))
            for kind in ("user", "mnt")
        ]
        for file in files:
            if library.setns(file.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")
    os.chdir(folder)


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


def _run(words: list[str]) -> None:
    """Do what `python` does with these words."""
    match words:
        case ["-W", action, *others]:
            warnings.simplefilter(action)  # type: ignore[arg-type]
            _run(others)
        case ["-c", program, *arguments]:
            sys.argv = ["-c", *arguments]
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        case ["-m", module, *arguments]:
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [script, *arguments]:
            sys.argv = [script, *arguments]
            runpy.run_path(script, run_name="__main__")


def _end_with(status: int) -> None:
    """End as Python does, but for taking all modules apart, which takes as long as the command."""
    threading._shutdown()  # type: ignore[attr-defined]  # ends idle pools, and waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _serve(words: list[str], begin: Callable[[], None]) -> None:
    """Be granian, as soon as a child has prepared everything with `manage.py serve`.

    `begin` is called with granian's environment.
    """
    ours, childs = socket.socketpair()
    if not (child := os.fork()):
        ours.close()
        os.execv = functools.partial(_hand_over, childs)
        _end_with(_status(functools.partial(_run, words)))
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
    begin()
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
        "arguments": arguments[2:],  # without python -m
        "environment": dict(
            line.split("=", 1) for line in environment.stdout.split("\0") if "=" in line
        ),
        "umask": os.umask(0),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    }
    sys.stdout.flush()
    sys.stderr.flush()
    socket.send_fds(to, [json.dumps(found).encode() + b"\n"], _inherited())
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


def main() -> None:
    """Serve; each child goes on as the program that it is to be."""
    import config  # noqa: F401  (it puts pysqlite3 in the place of sqlite3 for the libraries)

    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # so that no child's collection copies the pages of the libraries
    serve(socket.socket(fileno=int(sys.argv[1])))


def _nothing() -> None:
    pass


def serve(
    orders: socket.socket,
    prepare: Callable[[], None] = _nothing,
    begin: Callable[[], None] = _nothing,
) -> None:
    """Fork for each order, and `prepare` the fork. It ends here; so does the server, at the end.

    A fork that goes on as granian calls `begin` first.
    """
    if program := _next_program(orders):
        prepare()
        _become(program)
        if program["serves"]:
            _serve(program["words"], begin)
        _end_with(_status(functools.partial(_run, program["words"])))


if __name__ == "__main__":
    main()
