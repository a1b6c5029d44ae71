"""Garbage that a test makes, collected without all that the tests before it have left.

A whole collection takes most of a second late in a run.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected() -> Iterator[None]:
    """What is made and becomes garbage in this block is collected at its end.

    The young are collected first: then this block makes too few objects for one to become old.
    """
    gc.collect(1)
    yield
    gc.collect(1)
