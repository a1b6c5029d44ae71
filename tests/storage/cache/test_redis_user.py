"""The Redis users of the guides may do what they are for, and little else."""

import contextlib
import re
from pathlib import Path

import pytest
from django.core.checks import run_checks
from redis import Redis
from redis.exceptions import NoPermissionError

from storage.cache import inspection
from storage.cache.audit import audit_cache
from storage.cache.guarded import GuardedCache, Guards
from storage.cache.leases import BUSY
from storage.cache.redis_cells import RedisCells
from storage.exceptions import StorageUnavailable
from storage.rate_limits.redis_counts import RedisCounts
from storage.rate_limits.windows import Request
from tests import clouds

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "production.md"
TEXT = GUIDE.read_text(encoding="utf-8")
RULES = re.search(r"^user chat on >PASSWORD (.*)$", TEXT, re.MULTILINE)[1]
METRICS_GUIDE = GUIDE.with_name("metrics.md").read_text(encoding="utf-8")
AUDIT_RULES = re.search(r"^user chat-audit on >PASSWORD (.*)$", METRICS_GUIDE, re.MULTILINE)[1]


@pytest.fixture(params=clouds.REDIS)
def user_url(request):
    """The URL of a server, or a cluster, as this user; the servers' administrators beside it."""
    server = request.getfixturevalue(request.param)
    admins = server.clients() if "cluster" in request.param else [Redis(port=server.port)]
    for admin in admins:
        admin.flushdb()  # marks that other tests have left
        admin.execute_command("ACL", "SETUSER", "chat", "reset", "on", ">hunter2", *RULES.split())
        admin.execute_command("ACL", "LOG", "RESET")
    url = clouds.redis_url(server, 0)
    yield url.replace("://", "://chat:hunter2@"), admins
    for admin in admins:
        admin.execute_command("ACL", "DELUSER", "chat")
        admin.close()


@pytest.fixture
def cache(user_url):
    cache = clouds.make_cache(user_url[0])
    yield cache
    with contextlib.suppress(AttributeError):
        cache.close()


def refused(admins):
    """The commands that were refused to anyone."""
    return {
        (entry["object"] if "object" in entry else entry[b"object"])
        for admin in admins
        for entry in admin.execute_command("ACL", "LOG")
    }


def test_it_may_do_all_that_the_application_does(user_url, cache):
    _, admins = user_url
    guarded = GuardedCache(cache, Guards(cache))
    guarded.set("chat:guide:1", "text", 60)
    assert guarded.get("chat:guide:1") == "text"
    cells = RedisCells(cache)
    token = cells.lease("chat:guide:2", b"reader")
    cells.fill("chat:guide:2", token, b"value", 60)
    assert cells.get("chat:guide:2") == b"Vvalue"
    token = cells.begin("chat:guide:2", b"writer", ["chat:guide:3"])
    cells.end("chat:guide:2", token, b"new", 60, ["chat:guide:3"])
    assert cells.get("chat:guide:2") == b"Vnew"
    assert cells.get("chat:guide:3") == BUSY
    cells.mark(["chat:guide:4", "chat:guide:5"])
    cells.drop("chat:guide:2")
    token = cells.begin(f"chat::{'0' * 64}", b"writer", [])
    cells.end(f"chat::{'0' * 64}", token, b'{"user_id":"guide"}', 60, [])
    counts = RedisCounts(cache, Guards(cache))
    for number in range(1, 4):
        assert counts.take(Request(b"0123456789abcdef", 10, 1)).state.current == number
    assert cells.erase_user("guide") == 2
    assert cells.get(f"chat::{'0' * 64}") is None
    for server in inspection.servers(cache.client.get_client(True)):
        server.ping()  # the health check of an idle connection
    assert refused(admins) == set()


def test_check_deploy_needs_no_more(user_url, cache, settings, monkeypatch):
    from storage.dynamodb import table

    monkeypatch.setattr(table, "differences", lambda client: [])
    settings.ENVIRONMENT = "production"
    settings.AWS_REGION, settings.THREADS = "eu-central-1", 8
    settings.CACHES = {"default": clouds.redis_cache(user_url[0], max_connections=6)}
    messages = run_checks(include_deployment_checks=True)
    found = {message.id for message in messages if message.id.startswith("storage.")}
    assert found == {"storage.I001", "storage.W005"}  # the archive is a folder here


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "session:1"),
        ("SET", "other:1", "x"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "requirepass"),
        ("DEL", "other:1"),
    ],
    ids=" ".join,
)
def test_it_may_do_nothing_else(valkey_server, command):
    with Redis(port=valkey_server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "chat", "reset", "on", ">hunter2", *RULES.split())
        with (
            Redis(port=valkey_server.port, username="chat", password="hunter2") as user,
            pytest.raises(NoPermissionError),
        ):
            user.execute_command(*command)
        admin.execute_command("ACL", "DELUSER", "chat")


def test_the_guide_gives_elasticache_the_same_rules():
    assert f'--access-string "on {RULES}"' in TEXT


@pytest.fixture
def audit_cache_of_user(user_url):
    """The cache as the audit's user reaches it."""
    url, admins = user_url
    for admin in admins:
        rules = ("reset", "on", ">hunter2", *AUDIT_RULES.split())
        admin.execute_command("ACL", "SETUSER", "chat-audit", *rules)
    cache = clouds.make_cache(url.replace("://chat:", "://chat-audit:"))
    yield cache
    cache.close()
    for admin in admins:
        admin.execute_command("ACL", "DELUSER", "chat-audit")


def as_it_is(key, cell):
    """In place of `ReliableCells.usable`."""
    return cell


def nothing(_):
    """In place of reads of the database."""


def test_the_user_of_the_audit_may_do_all_that_it_does(user_url, cache, audit_cache_of_user):
    cells = RedisCells(cache)
    cells.mark([f"chat::{number:064x}" for number in range(20)])
    for sample in (None, 5):
        found = audit_cache(audit_cache_of_user, as_it_is, nothing, nothing, sample)
        assert sum(found.entries.values()) >= 3
    assert refused(user_url[1]) == set()
    for number in range(20):
        cells._client.delete(f"chat::{number:064x}")


def test_the_user_of_the_application_lacks_a_permission_and_is_told_so(cache):
    RedisCells(cache).mark([f"chat::{number:064x}" for number in range(20)])
    with pytest.raises(
        StorageUnavailable, match=r"lacks permissions that an audit needs: see docs/how-to"
    ):
        audit_cache(cache, as_it_is, nothing, nothing, None)


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "session:1"),
        ("SET", "chat::1", "x"),
        ("DEL", "chat::1"),
        ("EVAL", "return 1", "0"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("INFO",),
    ],
    ids=" ".join,
)
def test_the_user_of_the_audit_may_do_nothing_else(valkey_server, command):
    with Redis(port=valkey_server.port) as admin:
        rules = ("reset", "on", ">hunter2", *AUDIT_RULES.split())
        admin.execute_command("ACL", "SETUSER", "chat-audit", *rules)
        with (
            Redis(port=valkey_server.port, username="chat-audit", password="hunter2") as user,
            pytest.raises(NoPermissionError),
        ):
            user.execute_command(*command)
        admin.execute_command("ACL", "DELUSER", "chat-audit")
