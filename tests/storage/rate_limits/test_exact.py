"""Four processes with 16 threads each: as many calls are allowed as the quota has, not one more."""

import json

import pytest

CALLS = 4 * 16 * 10


@pytest.fixture
def allowed(run_program, tmp_path):
    """How many calls each of the four processes was allowed."""

    def run(kind, quota):
        found = run_program("with_django.callers", kind, str(tmp_path), str(quota), "10")
        return json.loads(found)

    return run


@pytest.mark.parametrize("quota", [300, CALLS])
def test_processes_of_one_machine_share_their_quota(allowed, quota):
    assert sum(allowed("local", quota)) == min(quota, CALLS)


def test_processes_that_count_by_themselves_allow_more(allowed):
    # The control: shows that the test above would see it.
    assert allowed("own", 100) == [100] * 4


@pytest.mark.parametrize("quota", [300, CALLS])
def test_machines_share_their_quota_in_redis(allowed, valkey_server, quota):
    assert sum(allowed(f"redis://127.0.0.1:{valkey_server.port}/{quota % 16}", quota)) == min(
        quota, CALLS
    )


def test_machines_share_their_quota_in_a_cluster(allowed, valkey_cluster):
    assert sum(allowed(valkey_cluster.url, 300)) == 300


def test_without_redis_each_machine_has_the_quota(allowed):
    assert allowed("redis://127.0.0.1:1/0", 100) == [100] * 4
