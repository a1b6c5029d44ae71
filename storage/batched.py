"""`itertools.batched`, which Python has from 3.12 on."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields lists of `size` items, the last one maybe shorter. Takes items only as needed."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
