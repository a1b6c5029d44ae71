"""Damaged files of the archive: they keep nothing else from being done, but a run fails by them."""

from collections.abc import Iterator
from contextlib import contextmanager

from storage.exceptions import DamagedArchive, StorageUnavailable


class Damage:
    """What a run has come across."""

    def __init__(self) -> None:
        self.found: list[DamagedArchive] = []

    @contextmanager
    def passed_over(self) -> Iterator[None]:
        """What is in the block ends where it meets a damaged file, and the run goes on."""
        try:
            yield
        except DamagedArchive as error:
            self.found.append(error)

    def tell(self) -> None:
        """At the end of the run. Raises DamagedArchive, or one error for all if there are more."""
        by_name = {error.name: error for error in self.found}
        if len(by_name) > 1:
            raise StorageUnavailable(" ".join(str(error) for error in by_name.values()))
        for error in by_name.values():
            raise error
