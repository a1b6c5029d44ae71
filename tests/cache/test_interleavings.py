"""No read that starts after a write was acknowledged shows anything older, whatever interleaves.

INTERLEAVINGS asks for more runs than the few hundred of a normal run.
"""

import os

import pytest

from storage.cache.redis_cells import RedisCells
from tests import clouds
from tests.cache.interleavings import KEY, DeleteOnWrite, MemoryCells, Run

COUNT = int(os.environ.get("INTERLEAVINGS", "300"))


def runs(make_cells, count):
    """The sums of stale reads, of hits and of all reads over so many runs."""
    stale = hits = reads = 0
    for seed in range(count):
        run = Run(seed, make_cells()).go()
        stale, hits, reads = stale + run.stale, hits + run.hits, reads + run.reads
    print(f"{count} runs: {stale} stale of {reads} reads, {hits} hits")
    return stale, hits, reads


def test_in_memory():
    stale, hits, reads = runs(MemoryCells, COUNT)
    assert stale == 0
    assert hits > 0.3 * reads


def test_the_usual_cache_aside_would_be_stale():
    # The control: the same runs have teeth.
    stale, _, reads = runs(DeleteOnWrite, COUNT)
    assert stale > 0.005 * reads


@pytest.mark.parametrize("server", ["valkey_server", "valkey_cluster"])
def test_in_redis(request, server):
    found = request.getfixturevalue(server)
    url = found.url if server == "valkey_cluster" else f"redis://127.0.0.1:{found.port}/2"
    cells = RedisCells(clouds.make_cache(url))

    def emptied():
        cells.delete(KEY)
        return cells

    stale, hits, reads = runs(emptied, COUNT)
    assert stale == 0
    assert hits > 0.3 * reads
