"""`sslmode=verify-full`: a server is believed if its certificate names it and is of the authority.

The wheel's PostgreSQL has no TLS. What ends it stands before that server, as a load balancer does.
"""

import socket

import pytest
from cryptography.hazmat.primitives import serialization
from django.db import OperationalError, connection

from storage.cache.breaker import CircuitBreaker
from storage.postgresql import base, url
from storage.postgresql.url import WAIT_SECONDS
from tests.between import Between
from tests.certificates import certificate, context_of
from tests.postgresql import as_default
from tests.servers import wait_for


class EndsTls(Between):
    """Speaks TLS with clients, after PostgreSQL's request for it, and plainly with the server."""

    def begins(self, client):
        # https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
        if len(client.recv(8, socket.MSG_WAITALL)) < 8:
            return False
        client.sendall(b"S")
        return True


@pytest.fixture(scope="module")
def authority():
    return certificate("authority", is_authority=True)


@pytest.fixture
def trusted(authority, tmp_path):
    file = tmp_path / "authority.pem"
    file.write_bytes(authority[0].public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture(autouse=True)
def _nothing_has_failed_yet(monkeypatch):
    monkeypatch.setattr(base, "_breaker", CircuitBreaker(WAIT_SECONDS))


@pytest.fixture
def before(in_postgresql, trusted, tmp_path):
    """Makes a way to the server by TLS with this certificate; gives its URL."""
    opened = []

    def make(made):
        opened.append(EndsTls(in_postgresql.port, context_of(made, tmp_path)))
        plain = in_postgresql.url("postgres").replace(str(in_postgresql.port), str(opened[0].port))
        return f"{plain}?sslmode=verify-full&sslrootcert={trusted}"

    yield make
    for proxy in opened:
        proxy.close()


def select_one():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()


def test_a_certificate_of_the_authority_is_taken(before, authority):
    with as_default(before(certificate("127.0.0.1", *authority))):
        assert select_one() == (1,)
        assert connection.connection.pgconn.ssl_in_use


@pytest.mark.parametrize("wrong", ["authority", "host name", "expired"])
def test_a_certificate_that_proves_nothing_is_refused(
    before, authority, caplog, monkeypatch, wrong
):
    monkeypatch.setitem(url.POOL, "timeout", 0.3)
    made = {
        "authority": lambda: certificate("127.0.0.1", *certificate("other", is_authority=True)),
        "host name": lambda: certificate("127.0.0.2", *authority),
        "expired": lambda: certificate("127.0.0.1", *authority, days=-1),
    }
    with as_default(before(made[wrong]())):
        with pytest.raises(OperationalError):
            select_one()
        wait_for(lambda: "certificate" in caplog.text, "what the pool says")


def test_what_verifies_nobody_would_have_been_taken_in(before):
    """The control: without `verify-full` anyone could stand there."""
    stranger = certificate("127.0.0.2", *certificate("other", is_authority=True))
    with as_default(before(stranger).replace("verify-full", "require").partition("&")[0]):
        assert select_one() == (1,)
