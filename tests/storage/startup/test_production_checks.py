"""The checks of production: each finds what it is for, and says what to do."""

import contextlib
import itertools

import pytest
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import INFO, WARNING, run_checks
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from chat.metrics.cache_servers import CacheServers
from storage.cache import inspection
from storage.cache.redis import redis_cache
from storage.dynamodb import table
from storage.dynamodb.configured import configured_client
from storage.startup import production_checks, readiness, selection
from tests import servers

numbers = itertools.count()


def found(deploy=False):
    messages = run_checks(include_deployment_checks=deploy)
    ours = [message for message in messages if message.id.startswith("storage.")]
    return [message for message in ours if message.id != "storage.W005"]  # of the archive


def ids(deploy=False):
    return sorted(message.id for message in found(deploy))


@pytest.fixture
def production(settings):
    settings.ENVIRONMENT = "production"
    settings.AWS_REGION = "eu-central-1"
    settings.THREADS = 8
    return settings


@pytest.fixture
def right_table(production, dynamodb_server):
    production.DYNAMODB_ENDPOINT_URL = dynamodb_server.url
    production.DYNAMODB_TABLE = f"checked-{next(numbers)}"
    client = configured_client()
    table.create(client)
    return client


@pytest.fixture
def started(right_table):
    """`get_storage()` is of these settings."""
    selection._storage_of.cache_clear()
    yield
    selection._storage_of.cache_clear()


@pytest.fixture
def use_redis(settings):
    """Makes a URL the cache, as production's settings would."""

    def use(url):
        cache = redis_cache(url, max_connections=8)
        settings.CACHES = {"default": cache}

    yield use
    with contextlib.suppress(AttributeError):
        caches["default"].close()


@pytest.fixture
def redis_server(production, use_redis):
    """A server of this test's own, set up as it should be and used as the cache."""
    server = servers.start_valkey()
    use_redis(f"redis://127.0.0.1:{server.port}/0")
    with Redis(port=server.port) as redis:
        yield redis
    server.terminate()


# What every command checks


def test_production_as_it_should_be_is_in_order(production):
    assert found() == []


@pytest.mark.parametrize("region", ["", "Frankfurt", "eu central 1", "https://eu-central-1"])
def test_production_without_a_region_is_an_error(production, region):
    production.AWS_REGION = region
    (error,) = found()
    assert error.id == "storage.E003"
    assert error.is_serious()
    assert "eu-central-1" in error.hint


@pytest.mark.parametrize("threads", [1, 5, 6])
def test_as_many_connections_as_threads_are_a_warning(production, threads):
    production.DYNAMODB_CONNECTIONS = 6
    production.THREADS = threads
    (warning,) = found()
    assert (warning.id, warning.level) == ("storage.W001", WARNING)
    assert "THREADS to 2 more" in warning.hint


def test_fewer_connections_than_threads_are_right(production):
    production.DYNAMODB_CONNECTIONS, production.THREADS = 6, 7
    assert found() == []


def test_elsewhere_nothing_of_it_matters(settings):
    settings.AWS_REGION = ""
    settings.DYNAMODB_CONNECTIONS = 99
    assert found(deploy=True) == []


# The table


def test_a_right_table_is_in_order(right_table):
    assert found(deploy=True) == []


def test_without_deploy_no_server_is_asked(production):
    production.DYNAMODB_ENDPOINT_URL = "http://127.0.0.1:1"
    assert found() == []


def test_each_difference_of_the_table_is_an_error(right_table):
    right_table.manage("UpdateTable", TableName=right_table.table, DeletionProtectionEnabled=False)
    right_table.manage(
        "UpdateContinuousBackups",
        TableName=right_table.table,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
    )
    errors = found(deploy=True)
    assert [error.id for error in errors] == ["storage.E004", "storage.E004"]
    assert all(error.is_serious() for error in errors)
    assert "deletion protection" in errors[0].msg
    assert "point-in-time recovery" in errors[1].msg
    assert "manage.py dynamodb_table create" in errors[0].hint


def test_a_missing_table_is_an_error(right_table, production):
    production.DYNAMODB_TABLE = "not-there"
    (error,) = found(deploy=True)
    assert error.id == "storage.E004"
    assert "There is no DynamoDB table not-there" in error.msg


def test_a_dynamodb_that_is_away_is_an_error(production):
    production.DYNAMODB_ENDPOINT_URL = "http://127.0.0.1:1"
    (error,) = found(deploy=True)
    assert error.id == "storage.E005"
    assert "DYNAMODB_ENDPOINT_URL" in error.msg


def test_an_unknown_profile_is_an_error(production, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    assert ids(deploy=True) == ["storage.E005"]


def test_a_missing_region_is_said_once(production):
    production.AWS_REGION = ""
    assert ids(deploy=True) == ["storage.E003"]


# Redis


@pytest.fixture
def _table_aside(monkeypatch):
    """These tests are about Redis."""
    monkeypatch.setattr(table, "differences", lambda client: [])


redis_test = pytest.mark.usefixtures("_table_aside")


@redis_test
def test_a_bounded_redis_in_memory_is_in_order(redis_server):
    assert found(deploy=True) == []


@redis_test
def test_without_redis_nothing_is_missing(production):
    production.CACHES = {"default": django_settings.NO_CACHE}
    assert found(deploy=True) == []


MISTAKES = [
    ("maxmemory", "0", "storage.E006", "maxmemory"),
    ("maxmemory-policy", "noeviction", "storage.E007", "allkeys-lru"),
    ("appendonly", "yes", "storage.E008", "appendonly no"),
    ("save", "3600 1", "storage.E008", 'save ""'),
]


@redis_test
@pytest.mark.parametrize(("parameter", "value", "check_id", "remedy"), MISTAKES)
def test_a_redis_that_is_set_up_wrong_is_an_error(redis_server, parameter, value, check_id, remedy):
    redis_server.config_set(parameter, value)
    (error,) = found(deploy=True)
    assert error.id == check_id
    assert error.is_serious()
    assert remedy in error.hint


@pytest.fixture
def hidden_configuration(redis_server):
    """As a managed service: the command CONFIG is not there."""
    redis_server.execute_command("ACL", "SETUSER", "default", "-config")


def set_up(redis_server, parameter, value):
    """Change the configuration although it is hidden."""
    redis_server.execute_command("ACL", "SETUSER", "default", "+config")
    redis_server.config_set(parameter, value)
    redis_server.execute_command("ACL", "SETUSER", "default", "-config")


@redis_test
@pytest.mark.usefixtures("hidden_configuration")
def test_where_config_is_hidden_only_the_save_points_stay_unknown():
    (info,) = found(deploy=True)
    assert (info.id, info.level) == ("storage.I001", INFO)
    assert "does not show save points" in info.msg


@redis_test
@pytest.mark.usefixtures("hidden_configuration")
@pytest.mark.parametrize(("parameter", "value", "check_id", "remedy"), MISTAKES[:3])
def test_where_config_is_hidden_info_tells(redis_server, parameter, value, check_id, remedy):
    set_up(redis_server, parameter, value)
    assert check_id in ids(deploy=True)


@redis_test
@pytest.mark.usefixtures("hidden_configuration")
def test_where_config_is_hidden_snapshots_are_a_warning(redis_server):
    redis_server.save()
    (warning,) = found(deploy=True)
    assert (warning.id, warning.level) == ("storage.W004", WARNING)
    assert "1 snapshots" in warning.msg
    assert "backups off" in warning.hint


@redis_test
@pytest.mark.usefixtures("hidden_configuration")
def test_a_redis_that_tells_nothing_is_a_warning(redis_server):
    redis_server.execute_command("ACL", "SETUSER", "default", "-info")
    (warning,) = found(deploy=True)
    assert (warning.id, warning.level) == ("storage.W003", WARNING)
    assert "+info" in warning.hint


@redis_test
def test_a_service_that_does_not_know_config_is_asked_for_info(redis_server, monkeypatch):
    def unknown(self, *parameters):
        raise ResponseError("unknown command 'CONFIG'")

    monkeypatch.setattr(Redis, "config_get", unknown)
    assert ids(deploy=True) == ["storage.I001"]


@redis_test
def test_a_redis_that_is_away_is_a_warning_without_the_password(production, use_redis):
    use_redis(f"redis://someone:hunter2@127.0.0.1:{servers.free_port()}/0")
    (warning,) = found(deploy=True)
    assert (warning.id, warning.level) == ("storage.W002", WARNING)
    assert "127.0.0.1" in warning.msg
    assert "hunter2" not in f"{warning.msg} {warning.hint}"


@redis_test
def test_a_cluster_that_is_away_is_a_warning_without_the_password(production, use_redis):
    use_redis(f"redis+cluster://someone:hunter2@127.0.0.1:{servers.free_port()}/0")
    (warning,) = found(deploy=True)
    assert warning.id == "storage.W002"
    assert "hunter2" not in f"{warning.msg} {warning.hint}"


@redis_test
def test_a_wrong_password_is_a_warning(redis_server, use_redis):
    port = redis_server.connection_pool.connection_kwargs["port"]
    use_redis(f"redis://someone:hunter2@127.0.0.1:{port}/0")
    (warning,) = found(deploy=True)
    assert warning.id == "storage.W002"


@redis_test
def test_every_node_of_a_cluster_is_looked_at(production, use_redis, valkey_cluster):
    use_redis(valkey_cluster.url)
    assert found(deploy=True) == []
    node = valkey_cluster.clients()[2]
    node.config_set("maxmemory-policy", "noeviction")
    try:
        (error,) = found(deploy=True)
    finally:
        node.config_set("maxmemory-policy", "allkeys-lru")
        node.close()
    assert error.id == "storage.E007"
    assert f"127.0.0.1:{valkey_cluster.ports[2]}" in error.msg


@redis_test
def test_one_node_that_tells_nothing_hides_no_other(production, use_redis, valkey_cluster):
    use_redis(valkey_cluster.url)
    nodes = valkey_cluster.clients()
    nodes[2].config_set("maxmemory-policy", "noeviction")
    nodes[0].execute_command("ACL", "SETUSER", "default", "-config", "-info")
    try:
        assert ids(deploy=True) == ["storage.E007", "storage.W003"]
    finally:
        nodes[0].execute_command("ACL", "SETUSER", "default", "+config", "+info")
        nodes[2].config_set("maxmemory-policy", "allkeys-lru")
        for node in nodes:
            node.close()


@redis_test
def test_a_node_of_a_cluster_with_the_url_of_one_server_is_an_error(
    production, use_redis, valkey_cluster
):
    use_redis(valkey_cluster.url.replace("+cluster", ""))
    (error,) = found(deploy=True)
    assert error.id == "storage.E011"
    assert "redis+cluster://" in error.hint


def test_no_permission_is_a_kind_of_answer():
    """What the fallback rests on."""
    assert issubclass(NoPermissionError, ResponseError)


def test_each_check_has_a_docstring_with_its_id():
    documented = " ".join(
        getattr(production_checks, name).__doc__
        for name in ("check_region", "check_threads", "check_table", "check_redis")
    )
    for check_id in (
        "E003",
        "E004",
        "E005",
        "E006",
        "E008",
        "E011",
        "W001",
        "W002",
        "W004",
        "I001",
    ):
        assert check_id in documented


def test_the_name_of_a_server_has_no_password():
    server = Redis(host="cache.example.org", port=6380, username="a", password="hunter2")
    assert inspection.name(server) == "cache.example.org:6380"


# A start, and metrics


@pytest.mark.parametrize(
    ("parameter", "value", "check"),
    [
        ("maxmemory", "0", "storage.E006"),
        ("maxmemory-policy", "noeviction", "storage.E007"),
        ("appendonly", "yes", "storage.E008"),
        ("save", "3600 1", "storage.E008"),
    ],
)
def test_a_redis_that_is_set_up_wrongly_stops_a_start_and_shows_in_metrics(
    redis_server, started, parameter, value, check
):
    assert readiness.startup_problem() is None
    assert server_errors() == dict.fromkeys(production_checks.REDIS_ERRORS, 0)
    redis_server.config_set(parameter, value)
    problem = readiness.startup_problem()
    assert problem.endswith(f"({check})")
    assert "\n" not in problem
    assert server_errors()[check] == 1


def test_a_redis_that_hides_its_set_up_is_asked_otherwise(redis_server, started, monkeypatch):
    def refuse(*arguments):
        raise NoPermissionError("no permissions to run CONFIG")

    monkeypatch.setattr(Redis, "config_get", refuse)
    assert readiness.startup_problem() is None
    redis_server.config_set("maxmemory", "0")
    assert "has no maxmemory" in readiness.startup_problem()


def test_a_redis_that_is_away_stops_no_start(started, use_redis):
    use_redis("redis://127.0.0.1:1/0")
    assert readiness.startup_problem() is None
    assert server_errors() == {}


def test_without_redis_there_is_nothing_to_check(started):
    assert readiness.startup_problem() is None
    assert server_errors() == {}


def server_errors():
    (family,) = CacheServers().collect()
    return {sample.labels["check"]: sample.value for sample in family.samples}
