"""Whether a server can listen on an address, found out before it starts.

Granian listens with SO_REUSEPORT, as its workers share the port. So a second server on the same
port would start without an error, and requests would go to either.
"""

import errno
import ipaddress
import os
import socket
from contextlib import suppress

_held: list[socket.socket] = []


class CannotListen(Exception):
    """The message says in one line what is wrong, and what would be right."""


def hold(host: str, port: int) -> None:
    """Keep other servers from this address until this process ends, or what it has become by exec.

    Raises CannotListen.
    """
    family = _family(host)
    try:
        # Not shared: this fails if anybody listens there, or holds the port as we do below.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        raise CannotListen(_problem(host, port, error)) from error
    # Shared with granian, which runs as the same user. It never listens, so it gets no requests.
    holder = socket.socket(family)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.set_inheritable(True)
    _held.append(holder)
    with suppress(OSError):  # a connection of another program has ended a moment ago
        holder.bind((host, port))


def _family(host: str) -> socket.AddressFamily:
    try:
        if "%" in host:  # granian knows no zones
            raise ValueError
        version = ipaddress.ip_address(host).version
    except ValueError:
        raise CannotListen(
            f"HOST={host!r} is not an IP address. Write 127.0.0.1 for this machine only, "
            "0.0.0.0 for everyone, or ::1 and :: for IPv6."
        ) from None
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _problem(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"PORT={port} is in use: another server listens there. Stop it, or set another "
                "PORT."
            )
        case errno.EACCES:
            return f"PORT={port} is not allowed to this user. Set a PORT from 1024."
        case errno.EADDRNOTAVAIL:
            return f"HOST={host} is not an address of this machine. Set HOST to one, or to 0.0.0.0."
        case number:
            return f"Nothing can listen on HOST={host}, PORT={port}: {os.strerror(number or 0)}."
