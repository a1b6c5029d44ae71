"""What the open descriptors of a process are."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

LISTENS = "0A"
"""The state of a socket in /proc/net/tcp."""


def kinds(process: int) -> Counter[str]:
    """How many there are of each kind: files, pipes, sockets by the port at their other end.

    Raises FileNotFoundError if the process has ended.
    """
    sockets = _tcp_sockets(process)
    found: Counter[str] = Counter()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            found[_kind(str(descriptor.readlink()), sockets)] += 1
    return found


def _kind(target: str, sockets: Mapping[str, str]) -> str:
    """By what the descriptor links to: a path, `pipe:[1]`, `anon_inode:[eventfd]`, `socket:[1]`."""
    if target.startswith("/"):
        return "file"
    kind, _, name = target.partition(":")
    return name.strip("[]") if kind == "anon_inode" else sockets.get(target, f"other {kind}")


def _tcp_sockets(process: int) -> dict[str, str]:
    """The kinds of all TCP sockets, by their links."""
    lines = [
        line.split()
        for version in ("tcp", "tcp6")
        for line in Path(f"/proc/{process}/net/{version}").read_text().splitlines()[1:]
    ]
    served = {_port(line[1]) for line in lines if line[3] == LISTENS}
    found = {}
    for _, own, other, state, *more in lines:
        kind = "socket of a client" if _port(own) in served else f"socket to port {_port(other)}"
        found[f"socket:[{more[5]}]"] = "socket that listens" if state == LISTENS else kind
    return found


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
