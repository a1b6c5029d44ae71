"""No interleaving at all gives a read what is outdated: with at most one fault; or, once new
generations are known, whatever does not arrive and whatever processes end.

See `tests.storage.cache.model`. CACHE_MODEL=full asks for two of each at a time, and for more.
"""

import random

import pytest

from storage.cache import leases
from tests import switches
from tests.storage.cache.model import (
    BY_GENERATION,
    IN_MEMORY,
    NOT_AT_ALL,
    QUIET,
    Model,
    Reader,
    Writer,
    canonical,
    explore,
)

SMALL = [(2, 1), (1, 2)]
"""Writers and readers. Each mutant is caught with one of these, in a quarter of the time of 2+2."""

FULL = switches.value("CACHE_MODEL") == "full"
SIZES = [(2, 2), (2, 3), (3, 2)] if FULL else SMALL

KINDS = {
    "the value": {},
    "what follows from it": {"first": "mark", "last": "mark"},
}
"""What the writers of a run write."""

NO_FAULT = {"faults": frozenset(), "repeated": frozenset()}
ENDLESS = {"misses": BY_GENERATION, "away": True, "ends": True}
OUTAGE = NO_FAULT | ENDLESS

CLAIMS = {
    "always": {},
    "if the last is tried once, while marks outlast writers": {"tries": 1, "goes": QUIET},
    "by generations, if the last is tried once": {"tries": 1, "misses": BY_GENERATION},
    "by generations, whatever does not arrive and ends": OUTAGE,
}
"""Under what conditions nothing is outdated, whatever fails, and whatever goes at any moment.

The last operation of a writer is tried once more when it has failed, so that even a process that
does not know of a new generation yet is given nothing outdated by one fault.
"""


def found(changes, writers=2, readers=2):
    states, trace = explore(Model(**changes), writers, readers)
    print(f"{writers} writers, {readers} readers: {states} states", *trace, sep="\n")
    return trace


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", SIZES, ids="{0[0]}+{0[1]}".format)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claim", CLAIMS)
def test_nothing_is_outdated(claim, kind, size):
    assert not found(CLAIMS[claim] | KINDS[kind], *size)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(not FULL, reason="takes minutes")
def test_nothing_is_outdated_if_one_of_all_that_fails_is_late(kind):
    assert not found(ENDLESS | KINDS[kind])


def test_states_that_are_taken_for_the_same_go_on_alike():
    model = Model(tokens_differ=False, tries=1, misses=BY_GENERATION)
    chance = random.Random(1)
    for _ in range(100):
        state = model.start(2, 2)
        for _ in range(40):
            following = [after for _, after in model.steps(state)]
            of_the_other = [after for _, after in model.steps(canonical(state))]
            assert set(map(canonical, following)) == set(map(canonical, of_the_other))
            state = chance.choice(following)


# Mutants: each part of the protocol is needed.


def value_cell(value):
    return None if value is None else b"V" + value


def end_unless(tag):
    """Leaves what has this tag, though it is not the writer's own."""

    def end(cell, token, value):
        is_other = cell is not None and cell[:1] == tag and cell != b"B" + token
        return cell if is_other else leases.end(cell, token, value)

    return end


def fill_any_lease(cell, token, value):
    return value_cell(value) if leases.is_leased(cell) else cell


def end_of_several(cell, token, value):
    return value_cell(value) if cell == leases.BUSY else leases.end(cell, token, value)


DELETE_ON_WRITE = {
    "first": None,
    "lease": lambda cell, token, value: cell,
    "has_lease": lambda cell, token: True,
    "fill": lambda cell, token, value: value_cell(value),
    "end": lambda cell, token, value: None,
}
TAKE_OVER = {"begin": lambda cell, token, value: b"B" + token}

ONCE = {"tries": 1, "goes": QUIET}
CLIENTS_TOKENS = {"tokens_differ": False, "faults": frozenset()}

MUTANTS = {
    "the usual cache-aside": NO_FAULT | DELETE_ON_WRITE,
    "a writer leaves a lease": NO_FAULT | {"end": end_unless(b"T")},
    "a writer leaves a value": NO_FAULT | {"end": end_unless(b"V")},
    "a writer leaves another's mark": NO_FAULT | {"end": end_unless(b"B")},
    "a writer replaces the mark of several": NO_FAULT | {"end": end_of_several},
    "a reader fills another's lease": NO_FAULT | {"fill": fill_any_lease},
    "writers take over from each other": ONCE | TAKE_OVER,
    "they do, and leave each other's marks": NO_FAULT | TAKE_OVER | {"end": end_unless(b"B")},
    "a writer whose begin failed puts its value": {"trusts": True, "tokens_differ": False},
    "the last is tried once": {"tries": 1},
    "there is no begin": ONCE | {"first": None},
    "a reader drops marks": ONCE | {"drop": lambda cell, token, value: None},
    "a lease sent twice has one token": CLIENTS_TOKENS | {"repeated": frozenset({"lease"})},
    "a begin sent twice has one token": CLIENTS_TOKENS | {"repeated": frozenset({"begin"})},
    "no mark before the commit": ONCE | {"first": None, "last": "mark"},
    "no mark after the commit": NO_FAULT | {"first": "mark", "last": None},
    "the mark after the commit is tried once": {"first": "mark", "last": "mark", "tries": 1},
    "what was missed is forgotten": OUTAGE | {"tries": 1, "misses": NOT_AT_ALL},
    "what was missed is remembered by its process": OUTAGE | {"tries": 1, "misses": IN_MEMORY},
    "readers do not keep the generation of their lease": OUTAGE | {"ages": frozenset({Writer})},
    "writers do not keep the generation of their begin": OUTAGE | {"ages": frozenset({Reader})},
}
"""What is wrong. ONCE: what helps if the last operation fails, and a mark is there still."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant):
    assert any(found(MUTANTS[mutant], *size) for size in SMALL)
