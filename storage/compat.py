"""What the standard library has from some version of Python on, and a package or we before."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["batched", "zstd"]

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """As `itertools.batched`, in lists: of `size` items, the last one maybe of fewer.

    Takes items only as needed.
    """
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
