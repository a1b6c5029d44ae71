"""`itertools.batched` of Python 3.12."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of so many, the last one maybe of fewer; no more is taken from `things` than needed."""
    remaining = iter(things)
    while batch := list(islice(remaining, size)):
        yield batch
