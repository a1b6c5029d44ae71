"""No read that starts after a write was acknowledged shows anything older, whatever interleaves.

INTERLEAVINGS asks for more runs than those of a normal run; Redis has a tenth of them.
INTERLEAVINGS_FROM is the first seed, so that several processes can share a million.
"""

import pytest

from storage.cache import leases
from storage.cache.generations import Generations
from tests import clouds, switches
from tests.storage.cache.answer_interleavings import OfAnswers
from tests.storage.cache.conftest import EvictableCells
from tests.storage.cache.erasure_interleavings import OfErasure
from tests.storage.cache.interleavings import (
    AWAY,
    NONE,
    DeleteOnWrite,
    DictCells,
    OfOneId,
    runs,
    stale_seed,
)

FROM = switches.number("INTERLEAVINGS_FROM")

KINDS = {
    "of one id": (OfOneId, {}),
    "of answers": (OfAnswers, {}),
    "of answers by an index": (OfAnswers, {"has_index": True}),
    "of an erasure": (OfErasure, {}),
    "of an erasure by marks": (OfErasure, {"scans": False}),
}
HITS = {
    "of one id": 0.3,
    "of answers": 0.15,
    "of answers by an index": 0.1,
    "of an erasure": 0.05,
    "of an erasure by marks": 0.05,
}
"""The least share of hits. Where there is no answer nothing is cached; and marks are to stay."""


COUNT = switches.number("INTERLEAVINGS")


def assert_never_stale(name, make_cells, count):
    kind, options = KINDS[name]
    stale, hits, reads = runs(kind, make_cells, range(FROM, FROM + count), **options)
    assert stale == 0
    assert hits > HITS[name] * reads


@pytest.mark.parametrize("name", KINDS)
def test_in_memory(name):
    assert_never_stale(name, DictCells, COUNT)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("server", clouds.REDIS)
def test_in_redis(request, server, name):
    url = clouds.redis_url(request.getfixturevalue(server), 2)
    cells = EvictableCells(clouds.make_cache(url, **clouds.PATIENT))

    def emptied():
        for key in KINDS[name][0].keys:
            cells.delete(key)
        return cells

    assert_never_stale(name, emptied, COUNT // 10)


# Faults that earlier forms of the protocol did not survive.


def test_a_lease_that_the_client_sends_twice(cells):
    cells.delete("key")
    token = cells.lease("key", b"reader")  # the second attempt, after the first has timed out
    writer = cells.begin("key", b"writer", [])
    cells.end("key", writer, None, 0, [])  # it is deleted
    cells.lease("key", b"reader")  # the first attempt arrives
    assert not cells.fill("key", token, b"what was deleted", 300)


def test_a_mark_that_the_client_sends_twice(cells):
    cells.delete("key")
    token = cells.begin("key", b"writer", [])
    cells.delete("key")  # evicted
    later = cells.begin("key", b"another", [])
    cells.end("key", later, b"new", 300, [])
    cells.delete("key")
    cells.begin("key", b"writer", [])  # the first attempt arrives
    cells.end("key", token, b"old", 300, [])
    assert cells.get("key") != b"Vold"


def test_a_new_generation_while_an_index_lags():
    stale, _, _ = runs(OfAnswers, DictCells, range(COUNT), has_index=True, faults=[AWAY])
    assert stale == 0


# Controls: the same runs have teeth.


@pytest.mark.exhaustive  # it tests the tests above
def test_the_usual_cache_aside_would_be_stale():
    for kind, options in list(KINDS.values())[:3]:
        stale, _, reads = runs(kind, DeleteOnWrite, range(500), **options)
        assert stale > 0.005 * reads


@pytest.mark.exhaustive  # it tests the tests above
def test_without_marks_after_the_commit_answers_would_be_stale():
    # The mark from before the commit is evicted, and a reader fills what it has read before.
    assert (
        stale_seed(OfAnswers, DictCells, range(2000), faults=(NONE,), unmarked="after") is not None
    )


@pytest.mark.exhaustive  # it tests the tests above
@pytest.mark.parametrize(("kind", "options"), list(KINDS.values())[:3])
def test_without_generations_what_a_process_missed_would_be_stale(monkeypatch, kind, options):
    monkeypatch.setattr(Generations, "advance", lambda generations, groups: None)
    assert stale_seed(kind, DictCells, range(4000), faults=(AWAY,), **options) is not None


@pytest.mark.exhaustive  # it tests the tests above
def test_without_marks_an_erasure_would_be_in_vain():
    assert stale_seed(OfErasure, DictCells, range(500), scans=False, marks=False) is not None


@pytest.mark.exhaustive  # it tests the tests above
def test_without_a_search_what_another_process_deleted_would_be_left(monkeypatch):
    monkeypatch.setattr(DictCells, "erase_user", lambda cells, user_id: 0)
    assert stale_seed(OfErasure, DictCells, range(1000), faults=(NONE,)) is not None


BUGS = {
    "a writer leaves what it does not expect": (
        "end",
        lambda cell, token, value: (
            (None if value is None else b"V" + value) if cell == b"B" + token else cell
        ),
    ),
    "a reader fills without a lease": (
        "fill",
        lambda cell, token, value: None if value is None else b"V" + value,
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found(monkeypatch, bug):
    monkeypatch.setattr(leases, *BUGS[bug])
    assert stale_seed(OfOneId, DictCells, range(500)) is not None
