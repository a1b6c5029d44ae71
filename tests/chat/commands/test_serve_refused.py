"""Starts that cannot succeed: one plain line, exit status 1, and nothing is touched."""

import errno
import os
import re
import socket

import pytest
from django.core.management import CommandError, call_command

from chat.management import listening
from tests.chat.processes import Server, free_port, run


def refused(folder, **values):
    """The line that a refused start prints."""
    finished = run(folder, "serve", **values)
    assert finished.returncode == 1
    assert finished.stdout == b""
    (line,) = finished.stderr.decode().splitlines()
    return line


def test_a_port_of_another_program(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused(tmp_path, PORT=str(port))
    assert line.endswith(
        f"PORT={port} is in use: another server listens there. Stop it, or set another PORT."
    )
    assert not (tmp_path / "data.sqlite3").exists()


@pytest.mark.parametrize(
    ("other", "host"),
    [
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "::"),
        ("::1", "::1"),
        ("::1", "::"),
    ],
)
def test_other_addresses_that_mean_the_same(other, host):
    family = socket.AF_INET6 if ":" in other else socket.AF_INET
    with (
        socket.create_server((other, 0), family=family) as program,
        pytest.raises(listening.CannotListen, match="is in use"),
    ):
        listening.hold(host, program.getsockname()[1])


def test_a_second_server_on_the_same_port(tmp_path):
    (tmp_path / "one").mkdir()
    server = Server(tmp_path / "one")
    try:
        server.wait_until_it_answers()
        assert "is in use" in refused(tmp_path, PORT=str(server.port))
        assert server.request("GET", "/healthz")[0] == 200
    finally:
        server.stop()


def test_of_two_servers_that_start_at_the_same_moment_one_is_refused(tmp_path, monkeypatch):
    port = free_port()
    monkeypatch.setattr("tests.chat.processes.free_port", lambda: port)
    servers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        servers.append(Server(tmp_path / name))
    try:
        while all(server.is_running() for server in servers):
            try:
                servers[0].request("GET", "/healthz")
            except OSError:
                continue
        (running,) = [server for server in servers if server.is_running()]
        (ended,) = [server for server in servers if server is not running]
        assert ended.output.count("\n") == 1
        assert "is in use" in ended.output
        running.wait_until_it_answers()
    finally:
        for server in servers:
            server.stop()


def test_an_address_of_another_machine():
    with pytest.raises(listening.CannotListen, match=r"HOST=192\.0\.2\.1 is not an address"):
        listening.hold("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["localhost", "[::1]", "example.org", "1.2.3", "fe80::1%lo"])
def test_a_host_that_is_no_address(host):
    expected = re.escape(f"HOST={host!r} is not an IP address. Write 127.0.0.1")
    with pytest.raises(listening.CannotListen, match=expected):
        listening.hold(host, 0)


def test_a_port_that_needs_rights(monkeypatch):
    # Tests may run with all rights.
    def bind(self, address):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(listening.CannotListen, match="PORT=80 is not allowed to this user"):
        listening.hold("127.0.0.1", 80)


@pytest.mark.parametrize(("key", "name"), [("", "file"), ("given", "file/below")])
def test_a_data_folder_that_cannot_be_made(tmp_path, key, name):
    (tmp_path / "file").touch()
    line = refused(tmp_path / name, SECRET_KEY=key, DATABASE_URL="")
    assert f"DATA_DIR={tmp_path / name} cannot be used: " in line


def test_a_data_folder_in_which_this_user_must_not_write(settings, tmp_path, monkeypatch):
    # Tests may run with all rights.
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(CommandError, match=f"DATA_DIR={tmp_path} cannot be used: Permission"):
        call_command("serve")


def test_a_database_that_is_none(tmp_path):
    (tmp_path / "data.sqlite3").write_text("This is something else." * 100)
    line = refused(tmp_path)
    assert "The database cannot be used: file is not a database." in line
