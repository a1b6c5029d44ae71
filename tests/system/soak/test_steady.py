"""What a steady soak takes for growth."""

import os
import signal

import pytest

from tests.forks import fork
from tests.system.soak.steady import MOST, family, growth, peak_growth


def test_a_leak_is_growth():
    assert growth([100 + number for number in range(100)]) > MOST


def test_what_fills_in_the_warm_up_is_none():
    assert growth([*range(0, 100, 4), *[100] * 75]) == 1.0


def test_neither_are_single_peaks():
    assert growth([*[100] * 80, 300, *[100] * 19]) == 1.0


def test_but_a_log_that_ever_gets_longer_is():
    sawtooth = [number % 10 for number in range(100)]
    assert peak_growth([10, *sawtooth]) == 1.0
    assert peak_growth([height * number for number, height in enumerate(sawtooth)]) > MOST


def test_pools_that_are_not_full_yet_may_fill():
    assert growth([100 + number // 10 for number in range(100)], 110) == 1.0
    assert growth([100 + number for number in range(100)], 110) > MOST


def test_a_log_that_is_not_full_yet_may_grow():
    assert peak_growth(range(100), 150) == 1.0
    assert peak_growth(range(100), 50) > MOST


@pytest.mark.parametrize("judge", [growth, peak_growth])
def test_few_samples_tell_nothing(judge):
    with pytest.raises(ValueError, match="too few"):
        judge([1.0] * 9)


def test_a_family_has_all_below():
    child = fork(signal.pause)
    try:
        assert {os.getpid(), child} <= set(family(os.getpid()))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
